from copy import deepcopy
from pathlib import Path

import pytest
import torch
from conftest import fit_shard
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn

from mmad.errors import InputError
from mmad.models import (
    FYD,
    AlignmentLoss,
    MeanTransformLoss,
    PaDiM,
    PairLoss,
    SequentialBackbone,
)
from mmad.models.layers import (
    SpatialTransformer,
    describe_affine,
    invert_affine,
    warp,
)
from mmad.registry import MODELS
from mmad.structures import AnomalyDataSample

CONFIGS = Path(__file__).parents[3] / 'configs'
ICA = dict(mode='rotation_translation', grid=2)
FCA = dict(mode='rotation_translation_scale', grid=2)
FAS = dict(stages=['layer2'])
ALL = dict(ica=ICA, fca=FCA, fas=FAS)
PARTS = {
    'ica': dict(ica=ICA),
    'fas': dict(fas=FAS),
    'ica+fas': dict(ica=ICA, fas=FAS),
    'fca+fas': dict(fca=FCA, fas=FAS),
    'all': ALL
}
parts = pytest.mark.parametrize('switches', PARTS.values(), ids=PARTS)


@MODELS.register_module(force=True)
class SteppedBackbone(SequentialBackbone):
    """Two stages of one convolution each, with fixed random weights."""

    def __init__(self, stages=('layer1', 'layer2'), weights=None):
        super().__init__(stages)
        generator = torch.Generator().manual_seed(0)
        self.body = nn.Sequential()
        for name, layer in (('layer1', nn.Conv2d(3, 6, 5, stride=4,
                                                 padding=2)),
                            ('layer2',
                             nn.Conv2d(6, 10, 3, stride=2, padding=1))):
            for parameter in layer.parameters():
                nn.init.normal_(parameter, std=0.3, generator=generator)
            self.body.add_module(name, nn.Sequential(layer, nn.ReLU()))
        self.freeze()


@pytest.fixture
def make_fyd():
    """FYD on two small stages, always with the same initial weights."""

    def make(**kwargs):
        torch.manual_seed(0)
        kwargs.setdefault('backbone', dict(type='SteppedBackbone'))
        kwargs.setdefault('dim', 6)
        return FYD(**kwargs)

    return make


def train(detector, images, steps=3, lr=0.05):
    """So many steps as the training loop would take them."""
    optimizer = OptimWrapper(
        torch.optim.SGD((p for p in detector.parameters() if p.requires_grad),
                        lr))
    detector.train()
    logs = [
        detector.train_step(
            dict(inputs=images, data_samples=[None] * len(images)), optimizer)
        for _ in range(steps)
    ]
    return [{
        name: value.item()
        for name, value in log.items()
    } for log in logs]


def disturb(detector, weight=0.6, bias=0.03):
    """Transforms away from the identity."""
    torch.manual_seed(3)
    for module in detector.modules():
        if isinstance(module, SpatialTransformer):
            nn.init.normal_(module.linear[-1].weight, std=weight)
            nn.init.normal_(module.linear[-1].bias, std=bias)
    return detector.eval()


@pytest.mark.parametrize('pca', [False, True])
def test_without_any_part_it_is_padim(make_fyd, fit, images, pca):
    kwargs = dict(reduction='pca') if pca else {}
    detector = make_fyd(**kwargs)
    padim = PaDiM(dict(type='SteppedBackbone'), dim=6, **kwargs)
    assert not detector.needs_training
    assert detector.state_dict().keys() == padim.state_dict().keys()
    ours, theirs = fit(detector, images), fit(padim, images)
    for name, value in theirs.state_dict().items():
        if name != 'fit_state.fingerprint':
            assert torch.equal(ours.state_dict()[name], value), name
    for value, expected in zip(ours(2 * images), theirs(2 * images)):
        assert torch.equal(value, expected)


def test_without_any_part_it_is_fitted_by_the_training_loop(make_fyd, images):
    detector = make_fyd()
    detector.begin_fit(7, 7)
    samples = [
        AnomalyDataSample(metainfo=dict(sample_idx=i)) for i in range(7)
    ]
    data = dict(inputs=images, data_samples=samples)
    assert detector.train_step(data, None) == {}
    detector.end_pass()
    assert torch.isfinite(detector(images)[1]).all()


@parts
def test_at_the_start_features_are_those_of_the_backbone(
        make_fyd, images, switches):
    for frame in ('aligned', 'original'):
        detector = make_fyd(gaussian_frame=frame, **switches).eval()
        torch.testing.assert_close(
            detector.extract(images),
            make_fyd().extract(images),
            rtol=1e-4,
            atol=1e-4)


@parts
def test_trains(make_fyd, images, switches):
    detector = make_fyd(**switches)
    assert detector.needs_training
    before = {
        name: p.detach().clone()
        for name, p in detector.named_parameters()
    }
    log = detector(images, [None] * 7, mode='loss')
    sum(value for name, value in log.items() if 'loss' in name).backward()
    for name, parameter in detector.named_parameters():
        # Several processes expect a gradient for each, or for none.
        if parameter.requires_grad:
            assert parameter.grad is not None, name
    detector.zero_grad()
    logs = train(detector, images, 8)
    assert ('loss_pair' in logs[0]) == ('ica' in switches)
    assert ('loss_alignment' in logs[0]) == ('fas' in switches)
    assert ('fca_angle_std' in logs[0]) == ('fca' in switches)
    if 'fas' in switches:
        assert logs[-1]['loss_alignment'] < logs[0]['loss_alignment']
    for name, parameter in detector.named_parameters():
        changed = not torch.equal(parameter, before[name])
        if name.startswith('backbone'):
            assert changed == ('fas' in switches), name
    for part in ('ica', 'fca', 'fas'):
        changed = [
            not torch.equal(p, before[name])
            for name, p in detector.named_parameters()
            if name.startswith(f'{part}.')
        ]
        assert any(changed) == (part in switches)


def test_losses_by_hand(make_fyd, images):
    detector = disturb(
        make_fyd(
            ica=ICA,
            fca=FCA,
            fas=dict(stages=['layer1', 'layer2'], pair='batch_mean'),
            pair_loss=dict(type='PairLoss', pairs='all', loss_weight=3.0),
            alignment_loss=dict(type='AlignmentLoss', loss_weight=2.0),
            mean_transform_loss=dict(
                type='MeanTransformLoss', loss_weight=7.0)))
    log = detector.loss(images, [None] * 7)
    image, first = detector.ica(images)
    one, second = detector.fca['layer1'](detector.backbone.body.layer1(image))
    two, third = detector.fca['layer2'](detector.backbone.body.layer2(one))
    torch.testing.assert_close(log['loss_pair'],
                               PairLoss('all', loss_weight=3.0)(image))
    center = MeanTransformLoss(7.0)
    assert min(center(first), center(second @ third)) > 1e-4
    torch.testing.assert_close(log['loss_mean_transform'],
                               center(first) + center(second @ third))
    align = AlignmentLoss(2.0)
    torch.testing.assert_close(
        log['loss_alignment'],
        align(*detector.fas['layer1'](one)) +
        align(*detector.fas['layer2'](two)))


def test_rates_of_the_schedule(make_fyd):
    detector = make_fyd(**ALL)
    wrapper = Config.fromfile(CONFIGS / '_base_/schedules/sgd_50e.py')
    optimizer = build_optim_wrapper(detector, wrapper.optim_wrapper).optimizer
    rates = {
        id(parameter): group['lr']
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    for name, parameter in detector.named_parameters():
        assert rates[id(parameter)] == pytest.approx(
            1e-4 if name.startswith('backbone.') else 1e-2), name


def test_statistics_of_the_transforms(make_fyd, images):
    detector = disturb(make_fyd(**ALL)).train()
    log = detector(images, [None] * 7, mode='loss')
    matrix = detector.ica.locate(images)
    described = describe_affine(matrix)
    for name, value in described.items():
        torch.testing.assert_close(log[f'ica_{name}_mean'], value.mean())
        torch.testing.assert_close(log[f'ica_{name}_std'],
                                   value.std(correction=0))
    assert float(log['ica_shift_x_std']) > 1e-3
    assert log['fca_scale_std'] > 1e-3


@pytest.mark.parametrize('size', [8, 32])
def test_one_image_alone_adds_no_gradient(make_fyd, images, size):
    detector = disturb(make_fyd(**ALL)).train()
    before = {
        name: value.clone()
        for name, value in detector.state_dict().items()
    }
    log = detector(images[:1, :, :size, :size], [None], mode='loss')
    assert all(value == 0 for value in log.values())
    sum(log.values()).backward()
    for name, value in detector.state_dict().items():
        if name != 'input_size':
            assert torch.equal(value, before[name]), name
    assert all(parameter.grad is not None and not parameter.grad.any()
               for parameter in detector.parameters()
               if parameter.requires_grad)


def test_alignment_loss_does_not_flow_into_what_is_predicted(make_fyd, images):
    # With the predictor cut off, nothing is left for gradients to go through.
    detector = make_fyd(fas=FAS)
    detector.fas['layer2'].predictor.register_forward_hook(
        lambda module, args, output: output.detach().requires_grad_())
    log = detector(images, [None] * 7, mode='loss')
    log['loss_alignment'].backward()
    assert all(p.grad is None for p in detector.parameters())


def test_normalization_of_the_backbone_stays(make_fyd, images):
    backbone = dict(type='DemoBackbone', stages=['layer1', 'layer2'])
    detector = make_fyd(backbone=backbone, **ALL)
    before = {
        name: value.clone()
        for name, value in detector.backbone.named_buffers()
    }
    train(detector, images)
    for name, value in detector.backbone.named_buffers():
        assert torch.equal(value, before[name]), name
    assert not any(m.training for m in detector.backbone.modules())
    assert all(m.training for m in detector.ica.modules())


@parts
@pytest.mark.parametrize('frame', ['aligned', 'original'])
def test_maps_after_a_fit(make_fyd, fit, images, switches, frame):
    # All images are moved alike, by a shift of some pixels and a turn.
    detector = disturb(
        make_fyd(gaussian_frame=frame, sigma=2.0, **switches), 0.0, 1.25)
    fit(detector, images)
    scores, maps = detector(images)
    assert maps.shape == (7, 1, 32, 40)
    assert torch.isfinite(maps).all()
    assert torch.equal(scores, maps.flatten(1).max(1).values)
    odd = images.clone()
    odd[3, :, 8:16, 20:28] += 8
    scores, maps = detector(odd)
    assert scores.argmax() == 3
    inside = maps[3, 0, 8:16, 20:28].mean()
    assert inside > 1.5 * maps[3].mean()


def test_distances_return_by_the_inverse(make_fyd, fit, images):
    detector = fit(disturb(make_fyd(**ALL)), images)
    matrix = detector.align(images)[1]
    there = detector.gaussians(detector.extract(images))
    back = warp(there, invert_affine(matrix))
    assert (back - there).abs().max() > 0.1
    torch.testing.assert_close(
        detector(images)[1], detector.anomaly_map(back, images.shape[-2:]))


def test_stages_share_the_last_frame(make_fyd, images):
    detector = disturb(make_fyd(reduction='none', dim=None, **ALL))
    image, first = detector.ica(images)
    one = detector.backbone.body.layer1(image)
    moved, second = detector.fca['layer1'](one)
    two = detector.backbone.body.layer2(moved)
    third = detector.fca['layer2'].locate(two)
    expected = [warp(one, second @ third), warp(two, third)]
    torch.testing.assert_close(
        detector.extract(images), detector.reduction(expected))
    torch.testing.assert_close(
        detector.align(images)[1], first @ second @ third)
    original = disturb(
        make_fyd(reduction='none', dim=None, gaussian_frame='original', **ALL))
    expected = [
        warp(one, invert_affine(first)),
        warp(two, invert_affine(first @ second))
    ]
    torch.testing.assert_close(
        original.extract(images), original.reduction(expected))


def test_align(make_fyd, images):
    aligned, matrix = make_fyd().align(images)
    assert torch.equal(matrix, torch.eye(3).expand(7, 3, 3))
    torch.testing.assert_close(aligned, images, atol=1e-5, rtol=1e-5)
    detector = disturb(make_fyd(ica=ICA))
    aligned, _ = detector.align(images)
    assert torch.equal(aligned, detector.ica(images)[0])


@pytest.mark.parametrize(
    ('switches', 'steps', 'lr'),
    [(dict(ica=dict(mode='translation', grid=2)), 50, 0.01),
     (dict(
         fca=dict(mode='translation', grid=2),
         fas=FAS,
         mean_transform_loss=dict(type='MeanTransformLoss',
                                  loss_weight=1.0)), 150, 0.1)],
    ids=['ica', 'fca'])
def test_moved_copies_of_one_image_are_aligned(make_fyd, switches, steps, lr):
    torch.manual_seed(0)
    image = torch.nn.functional.interpolate(
        3 * torch.randn(1, 3, 5, 5), size=(32, 32), mode='bicubic')
    shift = torch.empty(16, 2).uniform_(-0.2, 0.2)
    matrix = torch.eye(3).repeat(16, 1, 1)
    matrix[:, :2, 2] = shift
    images = warp(image.expand(16, 3, 32, 32), matrix)
    detector = make_fyd(**switches)
    train(detector, images, steps, lr)
    moves = detector.eval().align(images)[1][:, :2, 2]
    assert (moves + shift).std(0).max() < 0.5 * shift.std(0).min()
    assert moves.mean(0).abs().max() < 0.05


@parts
def test_reload(make_fyd, fit, images, switches):
    detector = disturb(make_fyd(**switches))
    fit(detector, images)
    other = make_fyd(**switches).eval()
    other.load_state_dict(detector.state_dict())
    for ours, theirs in zip(other(images), detector(images)):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(ica=None), r"ica \{.*'rotation_translation'.*\} instead of None"),
     (dict(gaussian_frame='original'),
      "gaussian_frame 'aligned' instead of 'original'"),
     (dict(ica=dict(ICA, max_shift=0.2)), "'translation': 0.3.* instead of")])
def test_reload_of_another_setting(make_fyd, fit, images, kwargs, message):
    state = fit(make_fyd(**ALL).eval(), images).state_dict()
    with pytest.raises(InputError, match=message):
        make_fyd(**{**ALL, **kwargs}).load_state_dict(state)


@pytest.mark.parametrize(('number', 'batch_size'), [(7, 1), (1, 8)])
def test_nothing_to_align_with(make_fyd, number, batch_size):
    make_fyd().begin_fit(number, batch_size)
    with pytest.raises(InputError, match='must be at least 2'):
        make_fyd(ica=ICA).begin_fit(number, batch_size)


def test_unfitted(make_fyd, images):
    detector = make_fyd(**ALL)
    train(detector, images)
    with pytest.raises(InputError, match='FYD is not fitted'):
        detector(images)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(gaussian_frame='image'), '"aligned" or "original", got "image"'),
     (dict(fca=FCA), '`fca` is trained through `fas`'),
     (dict(fas=dict(stages=['layer1'])), r'with the last of them, got \['),
     (dict(fas=dict(stages=['layer2', 'layer9'])), 'must be among those of'),
     (dict(fas=dict(stages=['layer2', 'layer2'])), 'each once, with the last'),
     (dict(fas=dict(stages='layer2')), 'with the last of them, got layer2'),
     (dict(ica=False), '`ica` must be a dict of .* or None, got False'),
     (dict(backbone=dict(type='TinyBackbone'), fca=FCA,
           fas={}), 'in TinyBackbone; use TorchvisionResNet'),
     (dict(
         backbone=dict(type='SteppedBackbone', stages=['layer2', 'layer1']),
         fca=FCA,
         fas={}), r"in its order, \['layer1', 'layer2'\]")])
def test_bad_arguments(make_fyd, kwargs, message):
    with pytest.raises(InputError, match=message):
        make_fyd(**kwargs)


def test_unknown_keys_are_refused(make_fyd):
    for name in ('ica', 'fas'):
        with pytest.raises(TypeError, match='unexpected keyword argument'):
            make_fyd(**{name: dict(modes='rotation')})


def _fit_shard(rank, detector, images):
    return fit_shard(detector, images).state_dict()


@pytest.mark.parametrize('world', [2, 3])
def test_processes_fit_as_one(run_processes, make_fyd, fit, images, world):
    detector = disturb(make_fyd(**ALL))
    state = fit(detector, images).state_dict()
    for found in run_processes(world, _fit_shard, disturb(make_fyd(**ALL)),
                               images):
        assert found.keys() == state.keys()
        for name, value in state.items():
            assert torch.equal(found[name], value), name


def test_mixed_precision(make_fyd, images):
    detector = disturb(make_fyd(**ALL), 0.3)
    expected = detector.align(images)[1]
    with torch.autocast('cpu', torch.bfloat16):
        matrix = detector.align(images)[1]
        log = detector(images, [None] * 7, mode='loss')
    assert matrix.dtype == log['loss_alignment'].dtype == torch.float32
    torch.testing.assert_close(matrix, expected, atol=0.02, rtol=0)


def test_export(make_fyd, fit, images):
    detector = fit(disturb(make_fyd(**ALL)), images)
    # The matrices of the anomaly map are made by SciPy, so beforehand.
    expected = detector(images)
    program = torch.export.export(detector, (images, ), strict=False)
    for exported, own in zip(program.module()(images), expected):
        torch.testing.assert_close(exported, own)


def step_of_a_share(rank, detector, images, world):
    detector.train()
    log = detector(images[rank::world], mode='loss')
    loss, log = detector.parse_losses(log)
    loss.backward()
    return dict(
        log={
            name: value.detach()
            for name, value in log.items()
        },
        buffers={
            name: value.clone()
            for name, value in detector.named_buffers()
        },
        gradients={
            name: parameter.grad
            for name, parameter in detector.named_parameters()
            if parameter.grad is not None
        })


@pytest.mark.parametrize('world', [2, 3])
@pytest.mark.parametrize('switches', [
    dict(ALL),
    dict(ica=ICA, pair_loss=dict(type='PairLoss', pairs='all')),
    dict(fas=dict(FAS, pair='batch_mean'), fca=FCA)
])
def test_several_processes_train_as_one(run_processes, make_fyd, images,
                                        switches, world):
    images = images[:6].double()
    detector = disturb(make_fyd(**switches)).double()
    alone = step_of_a_share(0, deepcopy(detector), images, 1)
    assert alone['gradients']
    found = run_processes(world, step_of_a_share, detector, images, world)
    for state in found:
        assert state['log'].keys() == alone['log'].keys()
        for part in ('log', 'buffers'):
            for name, value in alone[part].items():
                torch.testing.assert_close(state[part][name], value)
    # As DistributedDataParallel averages them.
    for name, gradient in alone['gradients'].items():
        mean = sum(state['gradients'][name] for state in found) / world
        torch.testing.assert_close(mean, gradient, rtol=1e-4, atol=1e-7)


def one_image_each(rank, detector, images):
    detector.begin_fit(2, 1)
    return detector.train()(images[rank:rank + 1], mode='loss')


def test_one_image_in_each_process_is_enough(run_processes, make_fyd, images):
    for log in run_processes(2, one_image_each, make_fyd(ica=ICA), images):
        assert 'loss_alone' not in log
        assert log['loss_pair'] > 0
