from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import nn

from mmad.errors import InputError
from mmad.models import MKD
from mmad.models.losses import direction_loss, value_loss
from mmad.registry import MODELS

CONFIGS = Path(__file__).parents[3] / 'configs'
CLONER = dict(
    type='Cloner',
    widths=[[8, 6], [8, 10]],
    points=[0, 1],
    strides=[4, 2],
    ceil_mode=True)


@pytest.fixture
def make_mkd():
    """MKD on the tiny backbone, always with the same initial weights."""

    def make(**kwargs):
        torch.manual_seed(0)
        kwargs.setdefault('backbone', dict(type='TinyBackbone'))
        kwargs.setdefault('cloner', CLONER)
        return MKD(**kwargs)

    return make


def train(detector, images, steps=3, lr=1e-3):
    """So many steps as the training loop would take them."""
    optim_wrapper = OptimWrapper(
        torch.optim.Adam(detector.parameters(), lr=lr))
    detector.train()
    detector.begin_training(steps)
    logs = [
        detector.train_step(dict(inputs=images), optim_wrapper)
        for _ in range(steps)
    ]
    detector.eval()
    return [{
        name: value.item()
        for name, value in log.items()
    } for log in logs]


@pytest.fixture
def trained(make_mkd, images):
    detector = make_mkd(sigma=1.0)
    train(detector, images)
    return detector


def test_loss_goes_down_and_a_defect_stands_out(make_mkd):
    torch.manual_seed(0)
    waves = (torch.arange(64) / 3).sin()
    images = waves + 0.1 * torch.randn(16, 3, 64, 64)
    detector = make_mkd(
        backbone=dict(type='DemoBackbone', stages=['layer1', 'layer2']),
        cloner=dict(
            type='Cloner', widths=[[8, 8], [8, 32], [8, 64]], points=[1, 2]),
        sigma=2.0)
    logs = train(detector, images[:8], 60, lr=3e-3)
    assert logs[-1]['loss'] < 0.2 * logs[0]['loss']
    test = images[8:].clone()
    test[4:, :, 16:32, 40:56] = -waves[40:56]
    scores, maps = detector(test)
    assert scores[4:].min() > 1.5 * scores[:4].max()
    inside = maps[4:, :, 16:32, 40:56].mean((1, 2, 3))
    assert (inside > 2 * maps[4:].mean((1, 2, 3))).all()


def test_auto_gives_both_terms_the_same_size(make_mkd, images):
    for name in ('direction', 'value'):
        detector = make_mkd(weighted_loss=name)
        assert torch.isnan(detector.weight)
        first, second = train(detector, images, 2)
        assert first['loss_value'] == pytest.approx(first['loss_direction'])
        assert second['loss_value'] != pytest.approx(
            second['loss_direction'], rel=1e-4)
        plain = train(make_mkd(loss_weight=1, weighted_loss=name), images, 1)
        other = dict(direction='value', value='direction')[name]
        assert float(detector.weight) == pytest.approx(
            plain[0][f'loss_{other}'] / plain[0][f'loss_{name}'])


@pytest.mark.parametrize('name', ['value', 'direction'])
def test_weight_of_either_term(make_mkd, images, name):
    plain, = train(make_mkd(loss_weight=1), images, 1)
    log, = train(make_mkd(loss_weight=0.5, weighted_loss=name), images, 1)
    plain[f'loss_{name}'] *= 0.5
    for key in ('loss_value', 'loss_direction'):
        assert log[key] == pytest.approx(plain[key])
    assert log['loss'] == pytest.approx(log['loss_value'] +
                                        log['loss_direction'])


def test_score_is_the_loss_of_the_image(make_mkd, images):
    detector = make_mkd(loss_weight=2.5)
    train(detector, images)
    scores, _ = detector(images)
    source, clone = detector.backbone(images), detector.cloner(images)
    torch.testing.assert_close(
        scores,
        value_loss(source, clone) + 2.5 * direction_loss(source, clone))
    detector.test_points = [1]
    torch.testing.assert_close(
        detector(images)[0],
        value_loss(source[1:], clone[1:]) +
        2.5 * direction_loss(source[1:], clone[1:]))


def test_perfect_imitation_scores_zero(make_mkd, images):

    class Echo(nn.Module):
        points, widths, strides = (0, 1), (), ()

        def forward(self, inputs):
            return tuple(a.detach() for a in detector.backbone(inputs))

    detector = make_mkd(cloner=Echo(), loss_weight=1).eval()
    detector.fit_state.finalize()
    assert detector(images)[0].abs().max() < 1e-6


def test_source_stays_as_it_is(make_mkd, images):
    backbone = dict(type='DemoBackbone', stages=['layer1', 'layer2'])
    cloner = dict(CLONER, widths=[[8, 32], [8, 64]], strides=[4, 2])
    detector = make_mkd(backbone=backbone, cloner=cloner)
    before = {k: v.clone() for k, v in detector.backbone.state_dict().items()}
    started = detector.cloner.blocks[0][0].weight.detach().clone()
    train(detector, images)
    detector.train()
    assert not any(m.training for m in detector.backbone.modules())
    assert all(p.grad is None for p in detector.backbone.parameters())
    for name, value in detector.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(detector.cloner.blocks[0][0].weight, started)
    assert detector.cloner.training


@pytest.mark.parametrize('context', [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize('method', ['gradients', 'smooth_grad', 'gbp'])
def test_without_gradients(trained, images, method, context):
    trained.attribution.method = method
    trained.attribution.num_samples = 3
    expected = trained(images)
    with context():
        scores, maps = trained(images * 1)
        samples = trained(images * 1, mode='predict')
    assert torch.equal(maps, expected[1])
    assert torch.equal(scores, expected[0])
    assert maps.shape == (7, 1, 32, 40)
    assert (maps.flatten(1).std(1) > 0).all()
    assert (maps >= 0).all()
    assert torch.equal(samples[3].pred_map, maps[3, 0])
    assert all(p.grad is None or not p.grad.any()
               for p in trained.parameters())


def test_methods_differ(trained, images):
    maps = []
    for method in ('gradients', 'smooth_grad', 'gbp'):
        trained.attribution.method = method
        maps.append(trained(images)[1])
    assert not torch.allclose(maps[0], maps[1])
    assert not torch.allclose(maps[0], maps[2])


def test_batch_as_one_by_one(trained, images):
    scores, maps = trained(images)
    for i in range(7):
        score, one = trained(images[i:i + 1])
        torch.testing.assert_close(score[0], scores[i])
        torch.testing.assert_close(one[0], maps[i])


def test_gradient_goes_through_both_networks(trained, images):
    _, maps = trained(images)
    clone = [one.detach() for one in trained.cloner(images)]

    class Fixed(nn.Module):

        def forward(self, inputs):
            return tuple(clone)

    trained.cloner = Fixed()
    assert not torch.allclose(trained(images)[1], maps)


def test_mixed_precision(make_mkd, images):
    full, half = make_mkd(), make_mkd()
    for detector in (full, half):
        detector.begin_training(1)
    with torch.autocast('cpu', torch.bfloat16):
        losses = half(images, mode='loss')
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    full(images, mode='loss')
    torch.testing.assert_close(half.weight, full.weight, rtol=0.02, atol=0)


def test_compiled(trained, images):
    expected = trained(images)
    compiled = torch.compile(trained.test_step, backend='eager')
    samples = compiled(dict(inputs=images))
    for i, sample in enumerate(samples):
        torch.testing.assert_close(sample.pred_map, expected[1][i, 0])
    log = torch.compile(
        trained.train_step,
        backend='eager')(dict(inputs=images),
                         OptimWrapper(torch.optim.Adam(trained.parameters())))
    assert log['loss'] > 0


def test_reload(trained, make_mkd, images):
    other = make_mkd(sigma=1.0, backbone=dict(type='TinyBackbone', seed=3))
    other.load_state_dict(trained.state_dict())
    other.eval()
    assert other.weight == trained.weight
    for ours, theirs in zip(other(images), trained(images)):
        assert torch.equal(ours, theirs)
    # Training goes on with the same lambda.
    train(other, 2 * images)
    assert other.weight == trained.weight


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(cloner=dict(CLONER, widths=[[4, 6], [8, 10]])),
      r'cloner_widths \[\[8, 6\], \[8, 10\]\] instead of \[\[4, 6\]'),
     (dict(
         backbone=dict(type='TinyBackbone', stages=['layer2']),
         cloner=dict(CLONER, points=[0])),
      r"stages \['layer2', 'layer3'\] instead of \['layer2'\]"),
     (dict(loss_weight=2.0), "loss_weight 'auto' instead of 2.0"),
     (dict(weighted_loss='value'),
      "weighted_loss 'direction' instead of 'value'")])
def test_reload_of_another_setting(trained, make_mkd, kwargs, message):
    with pytest.raises(InputError, match=message):
        make_mkd(**kwargs).load_state_dict(trained.state_dict())


def test_reload_of_another_method(trained, make_mkd, make_patchcore, fit,
                                  images):
    with pytest.raises(InputError, match="detector 'MKD' instead of 'Patch"):
        make_patchcore().load_state_dict(trained.state_dict())
    patchcore = fit(make_patchcore(coreset_ratio=1), images)
    with pytest.raises(InputError, match="'PatchCore' instead of 'MKD'"):
        make_mkd().load_state_dict(patchcore.state_dict())


def test_untrained(make_mkd, images):
    with pytest.raises(InputError, match='MKD is not fitted'):
        make_mkd()(images)
    with pytest.raises(InputError, match='no fitted state of MKD'):
        make_mkd().load_state_dict(make_mkd().state_dict())


def test_terms_that_cannot_be_balanced(make_mkd, images):
    with pytest.raises(
            InputError, match='cannot be balanced: the terms begin '
            'with nan'):
        train(make_mkd(), images * float('nan'))


def test_shapes_must_agree(make_mkd, images):
    detector = make_mkd(cloner=dict(CLONER, widths=[[8, 6], [8, 12]]))
    with pytest.raises(
            InputError,
            match=r'at stage "layer3" the source has '
            r'\(10, 4, 5\) .* the cloner \(12, 4, 5\)'):
        train(detector, images)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(cloner=dict(CLONER, points=[1])),
      '2 stages and the cloner 1 `points`'),
     (dict(weighted_loss='values'), 'or "direction", got "values"'),
     (dict(loss_weight='big'), '`loss_weight` must .* or "auto", got \'big\''),
     (dict(loss_weight=-1), 'at least 0, or "auto", got -1'),
     (dict(test_points=[]), r'among 0 to 1, got \[\]'),
     (dict(test_points=[1, 2]), r'among 0 to 1, got \[1, 2\]')])
def test_bad_arguments(make_mkd, kwargs, message):
    with pytest.raises(InputError, match=message):
        make_mkd(**kwargs)


@pytest.mark.parametrize('name', ['vgg16_mvtec', 'resnet18_mvtec'])
def test_configs_train_and_score(name):
    cfg = Config.fromfile(CONFIGS / f'mkd/mkd_{name}.py')
    cfg.model.backbone.weights = None
    detector = MODELS.build(cfg.model)
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    log, = train(detector, list(images), 1)
    assert log['loss_value'] == pytest.approx(log['loss_direction'])
    with torch.no_grad():
        samples = detector.test_step(dict(inputs=list(images)))
    assert samples[0].pred_map.shape == (32, 32)
    assert samples[0].pred_score != samples[1].pred_score


def _first_step(rank, detector, images):
    train(detector, images[3 * rank:3 * rank + 3], 1)
    return detector.weight


def test_processes_agree_on_the_weight(run_processes, make_mkd, images):
    ours, theirs = run_processes(2, _first_step, make_mkd(), images)
    assert ours == theirs
    logs = [
        train(make_mkd(loss_weight=1), images[i:i + 3], 1)[0] for i in (0, 3)
    ]
    assert float(ours) == pytest.approx(
        sum(log['loss_value'] for log in logs) / sum(log['loss_direction']
                                                     for log in logs))
