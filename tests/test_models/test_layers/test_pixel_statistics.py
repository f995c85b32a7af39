import numpy as np
import pytest
import torch
import torch.distributed as dist

from mmad.errors import InputError
from mmad.models.layers import PixelStatistics


@pytest.fixture
def maps():
    """Five images of three channels and several sizes, far from zero."""
    rng = np.random.default_rng(0)
    return [
        torch.from_numpy(
            rng.normal([[[1000]], [[-3]], [[0]]], 0.1 + i,
                       (3, 4 + i, 6)).astype(np.float32)) for i in range(5)
    ]


def statistics_of(maps, order):
    statistics = PixelStatistics('the teacher')
    statistics.reset()
    for number in order:
        statistics.update(maps[number][None], [number])
    statistics.finalize()
    return statistics


def test_numpy(maps):
    statistics = statistics_of(maps, range(5))
    pixels = np.concatenate([m.flatten(1).numpy() for m in maps],
                            1).astype(np.float64)
    assert statistics.is_fitted
    np.testing.assert_array_equal(statistics.mean,
                                  pixels.mean(1).astype(np.float32))
    np.testing.assert_allclose(statistics.std, pixels.std(1), rtol=1e-7)


def test_batches_are_images_one_after_the_other(maps):
    images = torch.stack([m[:, :4] for m in maps])
    together = PixelStatistics('the teacher')
    together.reset()
    together.update(images, list(range(5)))
    together.finalize()
    alone = statistics_of(images, range(5))
    assert torch.equal(together.mean, alone.mean)
    assert torch.equal(together.std, alone.std)


def test_order_does_not_matter(maps):
    one = statistics_of(maps, range(5))
    other = statistics_of(maps, [3, 1, 4, 0, 2])
    assert torch.equal(one.mean, other.mean)
    assert torch.equal(one.std, other.std)


def test_memory_does_not_grow_with_the_images():
    rng = np.random.default_rng(0)
    statistics = PixelStatistics('the teacher')
    statistics.reset()
    sizes = []
    for number in range(300):
        # From the smallest squares of float32 to the largest.
        scale = 2.0**rng.integers(-149, 120)
        values = scale * rng.standard_normal((1, 4, 3, 5))
        statistics.update(torch.from_numpy(values).float(), [number])
        sizes.append(
            max(value.numerator.bit_length() + value.denominator.bit_length()
                for sums in statistics._sums for value in sums))
    assert max(sizes[100:]) <= max(sizes[:100]) + 30
    assert max(sizes) < 1500


def test_forgetting_and_fitting_again(maps):
    statistics = statistics_of(maps, range(5))
    statistics.reset()
    assert not statistics.is_fitted
    statistics.update(maps[1][None], [0])
    statistics.finalize()
    expected = statistics_of(maps, [1])
    assert torch.equal(statistics.mean, expected.mean)
    assert torch.equal(statistics.std, expected.std)


def test_normalizes(maps):
    statistics = statistics_of(maps, range(5))
    values = torch.cat([statistics(m[None])[0].flatten(1) for m in maps], 1)
    np.testing.assert_allclose(values.mean(1), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(1, correction=0), 1, atol=1e-4)


def _shard(rank, maps):
    world = dist.get_world_size()
    return statistics_of(maps, range(rank, len(maps), world)).state_dict()


@pytest.mark.parametrize('world', [2, 3, 6])
def test_processes_agree(run_processes, maps, world):
    alone = statistics_of(maps, range(5)).state_dict()
    for state in run_processes(world, _shard, maps):
        for name, value in state.items():
            assert torch.equal(value, alone[name])


@pytest.mark.parametrize('spoil', [
    lambda values: values.mul_(0), lambda values: values[1].fill_(3),
    lambda values: values[2, 0].fill_(torch.nan),
    lambda values: values[0, 0].fill_(-torch.inf)
])
def test_values_without_use(maps, spoil):
    values = maps[0]
    spoil(values)
    with pytest.raises(
            InputError,
            match='the teacher gives values that are '
            'not finite or the same'):
        statistics_of([values], [0])
