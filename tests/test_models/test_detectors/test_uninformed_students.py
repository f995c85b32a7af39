from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.optim import OptimWrapper

from mmad.engine.hooks.hook_utils import fit_statistics
from mmad.errors import InputError
from mmad.models import UninformedStudents
from mmad.structures import AnomalyDataSample

NETWORK = dict(type='PatchNetwork', patch_size=17, width=0.02, out_channels=4)
NORMALISATION = dict(
    type='ImgDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True)


@pytest.fixture
def make_students(teacher_files):
    """Two scales, always with the same initial weights."""

    def make(sizes=(17, 33), **kwargs):
        torch.manual_seed(0)
        kwargs.setdefault('scales', [
            dict(
                network=dict(NETWORK, patch_size=size),
                teacher=str(teacher_files[size])) for size in sizes
        ])
        return UninformedStudents(
            data_preprocessor=NORMALISATION, **kwargs).eval()

    return make


@pytest.fixture
def images():
    return list(
        torch.randint(
            256, (5, 3, 24, 28),
            generator=torch.Generator().manual_seed(0),
            dtype=torch.uint8))


def batches(images, numbers=None):
    """Batches of one, as the hooks hand them over."""
    return [
        dict(
            inputs=[images[i]],
            data_samples=[AnomalyDataSample(metainfo=dict(sample_idx=i))])
        for i in (range(len(images)) if numbers is None else numbers)
    ]


def train(detector, images, steps=3, lr=1e-2):
    detector.begin_training(steps)
    wrapper = OptimWrapper(torch.optim.Adam(detector.parameters(), lr=lr))
    detector.train()
    logs = [
        detector.train_step(
            dict(
                inputs=images,
                data_samples=[AnomalyDataSample()] * len(images)), wrapper)
        for _ in range(steps)
    ]
    detector.eval()
    return logs


def measure(detector, batches):
    fit_statistics(detector, batches,
                   [(scale.teacher_statistics, scale.teacher.dense)
                    for scale in detector.scales.values()])


def calibrate(detector, batches):
    fit_statistics(detector, batches, [(scale.score_statistics, scale)
                                       for scale in detector.scales.values()])


@pytest.fixture
def trained(make_students, images):
    detector = make_students()
    measure(detector, batches(images))
    train(detector, images)
    calibrate(detector, batches(images))
    return detector


def inputs_of(detector, images):
    return detector.data_preprocessor(dict(inputs=images))['inputs']


def test_statistics_are_those_of_all_pixels(trained, images):
    for scale in trained.scales.values():
        with torch.no_grad():
            pixels = scale.teacher.dense(inputs_of(trained, images)).double()
        pixels = pixels.transpose(0, 1).flatten(1).numpy()
        np.testing.assert_allclose(
            scale.teacher_statistics.mean,
            pixels.mean(1),
            rtol=1e-5,
            atol=1e-6)
        np.testing.assert_allclose(
            scale.teacher_statistics.std, pixels.std(1), rtol=1e-5)


def test_scores_have_mean_0_and_deviation_1(trained, images):
    inputs = inputs_of(trained, images)
    for scale in trained.scales.values():
        with torch.no_grad():
            scores = scale.score_statistics(scale(inputs))
        for values in scores.unbind(1):
            assert float(values.mean()) == pytest.approx(0, abs=1e-4)
            assert float(values.std(correction=0)) == pytest.approx(
                1, abs=1e-4)


def test_map_is_the_mean_over_the_scales(trained, images):
    with torch.no_grad():
        inputs = inputs_of(trained, images)
        scores, maps = trained(inputs)
        parts = [scale.score(inputs) for scale in trained.scales.values()]
    torch.testing.assert_close(maps, sum(parts) / 2)
    assert maps.shape == (5, 1, 24, 28)
    assert torch.equal(scores, maps.amax((1, 2, 3)))


def test_mean_of_the_map_as_image_score(trained, make_students, images):
    other = make_students(image_score='mean')
    other.load_state_dict(trained.state_dict())
    with torch.no_grad():
        inputs = inputs_of(trained, images)
        scores, maps = other(inputs)
        assert torch.equal(maps, trained(inputs)[1])
    torch.testing.assert_close(scores, maps.flatten(1).mean(1))
    assert len(set(scores.tolist())) == len(images)


def test_a_defect_stands_out(make_students):
    torch.manual_seed(1)
    waves = 128 + 80 * (torch.arange(32) / 3).sin() + torch.zeros(3, 32, 32)
    images = [(waves + 5 * torch.randn(3, 32, 32)).clamp(0, 255)
              for _ in range(6)]
    detector = make_students(sizes=(17, ))
    measure(detector, batches(images[:2]))
    first, *_, last = train(detector, images[:2], 40)
    assert last['loss'] < 0.5 * first['loss']
    calibrate(detector, batches(images[2:4]))
    images[5][:, 12:20, 12:20] = 255 - images[5][:, 12:20, 12:20]
    with torch.no_grad():
        scores, maps = detector(inputs_of(detector, images[4:]))
    assert scores[1] > scores[0] + 2
    assert maps[1, 0, 12:20, 12:20].mean() > maps[1].mean() + 1


def test_only_students_learn(trained, make_students):
    before = make_students()
    for name, scale in trained.scales.items():
        for ours, theirs in zip(scale.teacher.parameters(),
                                before.scales[name].teacher.parameters()):
            assert torch.equal(ours, theirs)
        for ours, theirs in zip(scale.students.parameters(),
                                before.scales[name].students.parameters()):
            assert not torch.equal(ours, theirs)


def test_students_begin_differently(make_students):
    first, second, third = make_students().scales['p17'].students
    for a, b in ((first, second), (second, third), (first, third)):
        assert not torch.equal(a.layers[0].weight, b.layers[0].weight)


def test_only_active_scales_learn(make_students, images):
    detector = make_students()
    measure(detector, batches(images))
    for name in ('p17', 'p33'):
        detector.active_scales = [name]
        before = deepcopy(detector.state_dict())
        log, = train(detector, images, 1)
        assert set(log) == {'loss', f'loss_{name}'}
        for key, value in detector.state_dict().items():
            trains = f'{name}.students.' in key
            if not key.startswith(('fit_state.', 'input_size')):
                assert torch.equal(value, before[key]) is not trains


def test_reload(trained, make_students, images):
    other = make_students(scales=[
        dict(network=dict(NETWORK, patch_size=size)) for size in (17, 33)
    ])
    other.load_state_dict(trained.state_dict())
    inputs = inputs_of(trained, images)
    with torch.no_grad():
        for ours, theirs in zip(other(inputs), trained(inputs)):
            assert torch.equal(ours, theirs)


def _reduced(rank, detector, images):
    numbers = range(rank, len(images), dist.get_world_size())
    measure(detector, batches(images, numbers))
    calibrate(detector, batches(images, numbers))
    return {
        name: value
        for name, value in detector.state_dict().items()
        if 'statistics' in name
    }


@pytest.mark.parametrize('world', [2, 3])
def test_processes_agree(run_processes, make_students, images, world):
    alone = make_students()
    measure(alone, batches(images))
    calibrate(alone, batches(images))
    for state in run_processes(world, _reduced, make_students(), images):
        assert len(state) == 8
        for name, value in state.items():
            assert torch.equal(value, alone.state_dict()[name]), name


def test_mixed_precision(make_students, images):
    detector = make_students()
    measure(detector, batches(images))
    with torch.autocast('cpu', torch.bfloat16):
        losses = detector.loss(inputs_of(detector, images), [])
    plain = detector.loss(inputs_of(detector, images), [])
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(plain[name].item(), rel=0.05)
        assert value.item() != plain[name].item()


@pytest.mark.slow
def test_compiled(make_students, images):
    logs = []
    for compiled in (False, True):
        detector = make_students(sizes=(17, ))
        measure(detector, batches(images))
        if compiled:
            detector.train_step = torch.compile(
                detector.train_step, backend='eager')
        logs.append([log['loss'].item() for log in train(detector, images, 2)])
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)


def test_stages_out_of_order(make_students, images):
    detector = make_students()
    with pytest.raises(InputError, match='is not fitted'):
        detector(inputs_of(detector, images))
    with pytest.raises(InputError, match='needs the TeacherStatisticsHook'):
        train(detector, images)
    measure(detector, batches(images))
    with pytest.raises(InputError, match='is not fitted'):
        detector(inputs_of(detector, images))
    train(detector, images, 2)
    with pytest.raises(InputError, match=r'not calibrated.*--resume'):
        detector(inputs_of(detector, images))
    assert not detector.is_fitted
    calibrate(detector, batches(images))
    assert detector.is_fitted
    detector(inputs_of(detector, images))


def test_never_without_a_teacher(make_students, images):
    detector = make_students(scales=[dict(network=NETWORK)])
    with pytest.raises(InputError, match='no `teacher` for the scales p17'):
        detector.require_teachers()


def test_constant_images(make_students):
    flat = [torch.full((3, 24, 28), 7, dtype=torch.uint8)] * 2
    with pytest.raises(InputError, match='the teacher of p17 gives values'):
        measure(make_students(), batches(flat))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(num_students=1), 'at least 2, got 1'),
     (dict(scales=[dict(teacher='none.pth')]), r'`scales\[0\]` lacks its'),
     (dict(image_score='sum'), '`image_score` must be "max" or "mean", got'),
     (dict(scales=[]), '`scales` must hold at least one'),
     (dict(scales=[dict(network=NETWORK)] * 2), 'patch size 17 twice')])
def test_bad_arguments(make_students, kwargs, message):
    with pytest.raises(InputError, match=message):
        make_students(**kwargs)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(num_students=2), 'num_students 3 instead of 2'),
     (dict(sizes=(33, 17)), 'scales .* instead of')])
def test_reload_of_another_setting(trained, make_students, kwargs, message):
    with pytest.raises(InputError, match=message):
        make_students(**kwargs).load_state_dict(trained.state_dict())
