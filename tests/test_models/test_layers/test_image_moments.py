import numpy as np
import pytest
import torch
import torch.distributed as dist

from mmad.errors import InputError
from mmad.models.layers import ImageMoments


@pytest.fixture
def maps():
    """Five images of three channels and several sizes, far from zero."""
    rng = np.random.default_rng(0)
    return [torch.from_numpy(rng.normal([[[1000]], [[-3]], [[0]]], 0.1 + i,
                                        (3, 4 + i, 6)).astype(np.float32))
            for i in range(5)]


def moments_of(maps, order, all_reduce=lambda tensor: None):
    moments = ImageMoments(len(maps), 3)
    for index in order:
        moments.put(index, maps[index])
    return moments.merge(all_reduce)


def test_numpy(maps):
    mean, std = moments_of(maps, range(5))
    pixels = np.concatenate([m.flatten(1).numpy() for m in maps], 1).astype(
        np.float64)
    np.testing.assert_allclose(mean, pixels.mean(1), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(1), rtol=1e-9)


def test_order_does_not_matter(maps):
    for ours, theirs in zip(moments_of(maps, range(5)),
                            moments_of(maps, [3, 1, 4, 0, 2])):
        assert torch.equal(ours, theirs)


def _shard(rank, maps):
    world = dist.get_world_size()
    return moments_of(maps, range(rank, len(maps), world), dist.all_reduce)


@pytest.mark.parametrize('world', [2, 3, 6])
def test_processes_agree(run_processes, maps, world):
    alone = moments_of(maps, range(5))
    for moments in run_processes(world, _shard, maps):
        for ours, theirs in zip(moments, alone):
            assert torch.equal(ours, theirs)


def test_missing_image(maps):
    with pytest.raises(InputError, match='2 of 5 images were not seen'):
        moments_of(maps, [0, 2, 3])
