import pytest
import torch
import torch.distributed as dist

from mmad.models.layers.held_patches import HeldPatches, replicate_rows


def draw(number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, 5, 3, 4, generator=generator)


def hold(features, order, max_patches=1000, inside=None):
    held = HeldPatches(len(features), max_patches, 0)
    for i in order:
        held.add(features[i:i + 1], [i],
                 None if inside is None else inside[i:i + 1])
    return held.sort()


def test_numbers_of_the_patches():
    features = draw(4)
    rows, numbers = hold(features, [2, 0, 3, 1])
    assert torch.equal(numbers, torch.arange(48))
    for row, number in zip(rows, numbers.tolist()):
        image, position = divmod(number, 12)
        assert torch.equal(row, features[image, :, position // 4,
                                         position % 4])


def test_nothing_is_left_when_they_are_cleared():
    held = HeldPatches(1, 1000, 0)
    held.add(draw(1), [0])
    assert len(held.sort()[0]) == len(held.sort()[1]) == 12
    held.clear()
    assert len(held.sort()[0]) == len(held.sort()[1]) == 0
    assert held.per_image == 12


@pytest.mark.parametrize('max_patches', [20, 1000])
def test_states_of_some_images_together_are_all(max_patches):
    features, order = draw(5), [2, 0, 4, 3, 1]
    held, other = (HeldPatches(5, max_patches, 0) for _ in range(2))
    for i in order:
        held.add(features[i:i + 1], [i])
    for ids in (order[:2], [], order[2:]):
        state = held.state_of(ids)
        assert set((state['numbers'] // 12).tolist()) == set(ids)
        other.add_state(state)
    for found, expected in zip(other.sort(), held.sort()):
        assert torch.equal(found, expected)


@pytest.mark.parametrize('max_patches', [2, 30, 47])
def test_at_most_so_many_whatever_the_order(max_patches):
    features = draw(4)
    rows, numbers = hold(features, range(4), max_patches)
    assert len(rows) == len(numbers.unique()) == max_patches
    counts = (numbers // 12).bincount(minlength=4)
    assert counts.max() - counts.min() <= 1
    for one, other in zip(
            hold(features, [3, 1, 0, 2], max_patches), (rows, numbers)):
        assert torch.equal(one, other)


def test_of_those_drawn_only_the_ones_in_the_image():
    features = draw(4)
    inside = torch.ones(4, 1, 6, 8, dtype=torch.bool)
    inside[:, :, :2] = False  # the first row of patches
    drawn = hold(features, range(4), 30)[1]
    found = hold(features, range(4), 30, inside)[1]
    assert torch.equal(found, drawn[drawn % 12 >= 4])
    assert 0 < len(found) < 30


def _replicate(rank, rows, chosen):
    own = torch.arange(len(rows)) % dist.get_world_size() == rank
    if rank == 1:
        own[:] = False
    elif rank == 0:
        own[1::3] = True
    return replicate_rows(rows[own], 10 * torch.nonzero(own)[:, 0], chosen)


def test_every_process_gets_the_rows(run_processes):
    rows = torch.randn(7, 3)
    chosen = torch.tensor([60, 0, 20, 40])
    for found in run_processes(3, _replicate, rows, chosen):
        assert torch.equal(found, rows[[6, 0, 2, 4]])
