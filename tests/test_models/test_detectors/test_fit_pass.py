import math

import pytest
import torch

from mmad.errors import InputError
from mmad.models.detectors.fit_pass import FitPass
from mmad.models.layers import FittedModule
from mmad.structures import AnomalyDataSample


class Diary(FittedModule):

    def __init__(self):
        super().__init__()
        self.rows, self.ids = [], []

    def update(self, features, ids):
        self.rows += features.flatten().tolist()
        self.ids += ids


def take_in(fit_pass, numbers, size=None):
    diary = Diary()
    features = torch.tensor([[float(i)] for i in numbers])
    # A group is filled up with copies of its first image.
    missing = (size or len(numbers)) - len(numbers)
    features = torch.cat([features, features[:1].expand(missing, 1)])
    samples = [
        AnomalyDataSample(metainfo=dict(sample_idx=i, img_path=f'{i}.png'))
        for i in numbers
    ]
    fit_pass.take_in(diary, features, samples, None)
    return diary


@pytest.mark.parametrize('batch_size', [*range(1, 40), 64, 100, 127])
def test_groups_are_of_one_size_and_waste_little(batch_size):
    images = torch.arange(3 * batch_size - 2.)
    sizes, seen = set(), []
    for batch in images.split(batch_size):
        for own, group in FitPass(len(images), batch_size).groups(batch):
            sizes.add(len(group))
            seen += batch[own].tolist()
            assert torch.equal(group[:len(batch[own])], batch[own])
    size, = sizes
    assert seen == images.tolist()
    assert min(batch_size, 4) <= size <= 8
    filled = math.ceil(batch_size / size) * size
    assert filled - batch_size <= 3


@pytest.mark.parametrize('size', [3, 5, 8])
def test_what_fills_up_a_group_is_not_learned(size):
    diary = take_in(FitPass(9, 8), [4, 2, 7], size)
    assert diary.ids == diary.rows == [4, 2, 7]


def test_what_the_sampler_repeats_is_not_learned():
    fit_pass = FitPass(5, 3)
    assert take_in(fit_pass, [3, 1, 4]).ids == [3, 1, 4]
    assert take_in(fit_pass, [0, 2, 3]).ids == [0, 2]
    assert take_in(fit_pass, [1, 4, 0]).ids == []
    fit_pass.check_complete()


@pytest.mark.parametrize(('numbers', 'match'),
                         [([0, 1, 2], 'collected 3 of 4'),
                          ([0, 1, 1, 2], 'the same `sample_idx`')])
def test_each_image_once(numbers, match):
    fit_pass = FitPass(4, 4)
    take_in(fit_pass, numbers)
    with pytest.raises(InputError, match=match):
        fit_pass.check_complete()


@pytest.mark.parametrize('value', [torch.nan, torch.inf, 1e30])
def test_features_that_cannot_be_compared_name_their_image(value):
    sample = AnomalyDataSample(metainfo=dict(sample_idx=0, img_path='odd.png'))
    with pytest.raises(InputError, match=r'"odd\.png" has non-finite'):
        FitPass(1, 1).take_in(Diary(), torch.tensor([[value]]), [sample], None)


@pytest.mark.parametrize('batch_size', [1, 3, 4, 20])
@pytest.mark.parametrize('stop', [1, 2, 4])
def test_goes_on_with_the_last_batch(batch_size, stop):
    numbers = [4, 9, 1, 0, 7, 3, 8, 2, 6, 5, 10]
    batches = [
        numbers[start:start + batch_size]
        for start in range(0, len(numbers), batch_size)
    ]
    first = FitPass(11, batch_size)
    for batch in batches[:stop]:
        take_in(first, batch)
    second, found = FitPass(11, batch_size), list(first.ids)
    second.go_on(list(first.ids), first.num_seen)
    assert second.num_batches == min(stop, len(batches)) - 1
    for batch in batches[second.num_batches:]:
        found += take_in(second, batch).ids
    assert found == second.ids == numbers
    assert second.num_seen == 11
    second.check_complete()
