from itertools import pairwise
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader, TensorDataset

from mmad.datasets import AnomalyDataset
from mmad.engine.hooks.hook_utils import (
    draw_evenly,
    even_steps,
    split_training_data,
    validated_epochs,
)
from mmad.errors import InputError


@pytest.mark.parametrize('size', [1, 2, 7, 10, 999])
@pytest.mark.parametrize('number', [1, 2, 3, 10, 2000])
def test_even_steps(size, number):
    found = even_steps(range(size), number)
    assert 1 <= len(found) <= number
    assert found[0] == 0
    steps = {b - a for a, b in pairwise(found)}
    assert len(steps) <= 1
    # The next smaller step would give too many.
    step = size - found[-1] if not steps else steps.pop()
    assert step == 1 or len(range(0, size, step - 1)) > number
    assert size - found[-1] <= step


def runner_of(dataset):
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(train_loop=SimpleNamespace(dataloader=loader))


def images_of(part):
    if isinstance(part, AnomalyDataset):
        return [entry['img_path'] for entry in part]
    return [int(number) for number, in part]


@pytest.fixture(params=['annotated', 'plain'])
def dataset(request, mvtec_root):
    if request.param == 'plain':
        return TensorDataset(torch.arange(7))
    return AnomalyDataset(mvtec_root, 'train', 'bottle')


@pytest.mark.parametrize(('share', 'number'), [(0.01, 1), (0.3, 2), (0.99, 6)])
def test_a_split_has_each_image_once(dataset, share, number):
    whole = images_of(dataset)
    splits = [
        split_training_data(runner_of(dataset), share, seed)
        for seed in (0, 0, 1, 2, 3)
    ]
    found = []
    for rest, held in splits:
        assert len(held) == number
        assert sorted(images_of(rest) + images_of(held)) == whole
        for part in (rest, held):
            assert images_of(part) == sorted(images_of(part))
        found.append(images_of(held))
    assert found[0] == found[1]
    assert any(part != found[0] for part in found[2:])
    assert images_of(dataset) == whole


def test_a_single_image_cannot_be_split():
    with pytest.raises(InputError, match='only one training image'):
        split_training_data(runner_of(TensorDataset(torch.zeros(1))), 0.5, 0)


@pytest.mark.parametrize('number', [1, 3, 100])
def test_items_are_drawn_evenly(dataset, number):
    whole = images_of(dataset)
    assert images_of(draw_evenly(dataset, number)) == [
        whole[place] for place in even_steps(dataset, number)
    ]


@pytest.mark.parametrize('options', [
    dict(),
    dict(val_begin=4),
    dict(val_interval=3),
    dict(val_begin=3, val_interval=2),
    dict(val_interval=4, dynamic_intervals=[(6, 1)]),
    dict(val_interval=1, dynamic_intervals=[(3, 2), (8, 3)]),
    dict(val_begin=5, val_interval=5, dynamic_intervals=[(5, 1), (9, 20)]),
    dict(val_interval=20),
])
def test_validated_epochs_are_those_of_the_loop(options):
    runner, seen = MagicMock(), []
    loop = EpochBasedTrainLoop(
        runner, DataLoader([0]), max_epochs=11, **options)
    runner.train_loop, runner.max_epochs = loop, loop.max_epochs
    expected = validated_epochs(runner)
    runner.val_loop.run.side_effect = lambda: seen.append(loop.epoch)
    loop.run()
    assert seen == [*expected, 11]


def test_without_validation_there_are_none():
    assert validated_epochs(SimpleNamespace(val_loop=None)) == []
