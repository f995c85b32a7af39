import numpy as np
import pytest
import torch

from mmad.engine.hooks.prediction_recorder import PredictionRecorder
from mmad.structures import AnomalyDataSample

NUMBER = 23
KINDS = ['good', 'cut', 'dent']


def sample(place):
    generator = torch.Generator().manual_seed(place)
    kind = KINDS[place % 3]
    one = AnomalyDataSample(
        metainfo=dict(
            img_path=f'{kind}/{place}.png',
            mask_path=None if kind == 'good' else f'mask/{place}.png',
            defect_type=kind,
            ori_shape=(8, 8),
            image_threshold=1.5,
            pixel_threshold=2.5,
            false_alarm_rate=0.1))
    one.gt_label = int(kind != 'good')
    one.pred_map = torch.rand(8, 8, generator=generator)
    one.pred_score = one.pred_map.max()
    one.p_value = 1 / (1 + place)
    return one


def record(rank, world, limit):
    recorder = PredictionRecorder(NUMBER, limit)
    # As a sampler divides them, the first ones again at the end.
    places = [
        place % NUMBER
        for place in range(rank, -(-NUMBER // world) * world, world)
    ]
    for start in range(0, len(places), 4):
        recorder.add([sample(place) for place in places[start:start + 4]])
    found = recorder.gather()
    if found is None:
        return None
    return dict(
        paths=found.paths,
        types=found.defect_types,
        about=found.about,
        scores=torch.from_numpy(found.scores),
        kinds=torch.from_numpy(found.kinds),
        p_values=torch.from_numpy(found.p_values),
        positions=[example.position for example in found.examples],
        masks=[example.mask_path for example in found.examples],
        maps=[torch.from_numpy(example.map) for example in found.examples])


@pytest.mark.parametrize('limit', [0, 9, NUMBER])
def test_same_for_any_number_of_processes(run_processes, limit):
    alone = record(0, 1, limit)
    assert alone['paths'] == [sample(p).img_path for p in range(NUMBER)]
    assert alone['types'] == ['cut', 'dent']
    assert alone['kinds'].tolist() == [p % 3 for p in range(NUMBER)]
    assert len(alone['positions']) == (8 if limit == 9 else limit)
    assert alone['about'] == dict(
        image_threshold=1.5, pixel_threshold=2.5, false_alarm_rate=0.1)
    for world in (2, 3):
        first, *others = run_processes(world, record, world, limit)
        assert others == [None] * (world - 1)
        for name, value in alone.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(first[name], value)
            elif name == 'maps':
                assert all(
                    torch.equal(*pair)
                    for pair in zip(first[name], value, strict=True))
            else:
                assert first[name] == value


def test_not_calibrated():
    one = AnomalyDataSample()
    one.gt_label, one.pred_score = 0, 0.5
    recorder = PredictionRecorder(1, 5)
    recorder.add([one])
    found = recorder.gather()
    assert found.p_values is None
    assert found.about == {}
    assert found.paths == ['image 0']
    assert found.examples[0].map.size == 0


@pytest.mark.parametrize('name', ['gt_label', 'pred_score'])
def test_samples_of_another_kind_are_no_predictions(name):
    one = sample(1)
    delattr(one, name)
    recorder = PredictionRecorder(2, 5)
    recorder.add([sample(0), one])
    assert recorder.gather() is None


def test_scores_are_those_of_the_images():
    found = record(0, 1, 0)
    expected = [float(sample(place).pred_score) for place in range(NUMBER)]
    np.testing.assert_array_equal(found['scores'], np.float32(expected))
