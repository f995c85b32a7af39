import pytest
import torch
from fyd_parts import ALL, FCA, ICA, disturb, parts, train
from tiny_models import fit_shard

from mmad.errors import InputError
from mmad.models import PaDiM
from mmad.structures import AnomalyDataSample


@pytest.mark.parametrize('reduction', [
    dict(dim=6),
    dict(reduction='pca', dim=6),
    dict(reduction='given', dim=None, indices=[14, 0, 5]),
    dict(reduction='none', dim=None),
])
def test_without_any_part_it_is_padim(make_fyd, fit, images, reduction):
    detector = make_fyd(**reduction)
    padim = PaDiM(dict(type='SteppedBackbone'), **reduction)
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


@pytest.mark.parametrize('world', [2, 3, 4])
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
