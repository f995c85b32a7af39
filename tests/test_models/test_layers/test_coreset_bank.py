import pytest
import torch
import torch.distributed as dist

from mmad.errors import InputError
from mmad.models.layers import CoresetBank

PER_IMAGE = 12


def draw(number=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, 5, 3, 4, generator=generator)


def fit(features, order=None, inside=None, **kwargs):
    bank = CoresetBank(**kwargs)
    bank.num_images = len(features)
    bank.reset()
    for i in range(len(features)) if order is None else order:
        bank.update(features[i:i + 1], [i],
                    None if inside is None else inside[i:i + 1])
    bank.finalize()
    return bank


def patches(features):
    return features.flatten(2).transpose(1, 2).flatten(0, 1)


def test_all_patches_in_the_order_of_the_images():
    features = draw()
    bank = fit(features, order=[4, 0, 6, 1, 5, 2, 3], coreset_ratio=1)
    assert torch.equal(bank.rows, patches(features))


def test_greedy_choice_by_brute_force():
    features = draw()
    rows = patches(features).double()
    bank = fit(
        features, coreset_ratio=0.25, projection_dim=None, first_patch=5)
    chosen = [5]
    while len(chosen) < len(rows) // 4:
        nearest = torch.cdist(rows, rows[chosen]).min(1).values
        chosen.append(int(nearest.argmax()))
    assert torch.equal(bank.rows, patches(features)[chosen])


@pytest.mark.parametrize('max_patches', [5, 20, 50])
def test_what_is_held_is_bounded(max_patches):
    bank = fit(draw(), coreset_ratio=1, max_patches=max_patches)
    assert bank.num_held == len(bank) == max_patches
    assert bank.num_patches == 7 * PER_IMAGE


def test_patches_of_the_border_are_left_out():
    features = draw()
    inside = torch.ones(7, 1, 6, 8, dtype=torch.bool)
    inside[:, :, :2] = False  # the first row of patches
    bank = fit(features, inside=inside, coreset_ratio=1)
    assert torch.equal(bank.rows, patches(features[:, :, 1:]))


def test_a_coreset_that_is_too_small():
    with pytest.raises(InputError, match='fewer than the 9'):
        fit(draw(), coreset_ratio=0.1, num_neighbors=9)


def _shard(rank, features):
    order = range(rank, len(features), dist.get_world_size())
    return fit(features, order, coreset_ratio=0.3).rows


@pytest.mark.parametrize('world', [2, 3])
def test_processes_choose_together(run_processes, world):
    features = draw()
    alone = fit(features, coreset_ratio=0.3).rows
    for rows in run_processes(world, _shard, features):
        assert torch.equal(rows, alone)
