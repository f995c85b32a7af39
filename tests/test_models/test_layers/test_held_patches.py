import re
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from budgets import budget_for

from mmad.errors import InputError
from mmad.models.layers.held_patches import HeldPatches, replicate_rows
from mmad.models.layers.row_file import RowFile


def draw(number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, 5, 3, 4, generator=generator)


def first_value(rows, image, floor, limit):
    """Rank patches by a value; those behind the limit have none."""
    ranks = rows[:, 0].double().abs()
    order = ranks.argsort(descending=True)
    ranks[order[limit:]] = -torch.inf
    return ranks, 0.0


def collect(features, order, kept, inside=None, rank=first_value, **kwargs):
    # What is in a file does not count.
    size = 0 if 'folder' in kwargs else kwargs.get('dtype',
                                                   torch.float32).itemsize
    budget = budget_for(kept, 5, 3, size)
    held = HeldPatches(len(features), budget, rank, choice_dim=3, **kwargs)
    for i in order:
        held.add(features[i:i + 1], [i],
                 None if inside is None else inside[i:i + 1])
    return held


def hold(*args, **kwargs):
    return collect(*args, **kwargs).settle()


def test_numbers_of_the_patches():
    features = draw(4)
    rows, numbers = hold(features, [2, 0, 3, 1], 1000)
    assert torch.equal(numbers // 12,
                       torch.tensor([2, 0, 3, 1]).repeat_interleave(12))
    for row, number in zip(rows, numbers.tolist()):
        image, position = divmod(number, 12)
        assert torch.equal(row, features[image, :, position // 4,
                                         position % 4])


def test_nothing_is_left_when_they_are_cleared():
    held = collect(draw(1), [0], 1000)
    assert len(held.settle()[0]) == len(held.settle()[1]) == 12
    held.clear()
    assert len(held.settle()[0]) == len(held.settle()[1]) == 0
    assert held.per_image == 12


@pytest.mark.parametrize('kept', [20, 1000])
def test_states_of_some_images_together_are_all(kept):
    features, order = draw(5), [2, 0, 4, 3, 1]
    held, other = (collect(features, images, kept) for images in (order, []))
    for ids in (order[:2], [], order[2:]):
        state = held.state_of(ids)
        assert set((state['numbers'] // 12).tolist()) <= set(ids)
        other.add_state(state)
    for found, expected in zip(other.settle(), held.settle()):
        assert torch.equal(found.sort(0).values, expected.sort(0).values)


@pytest.mark.parametrize('kept', [10, 33, 100])
@pytest.mark.parametrize('order', [
    torch.arange(10),
    torch.arange(10).flip(0),
    torch.tensor([3, 8, 1, 0, 9, 5, 2, 7, 4, 6])
])
def test_those_of_the_greatest_ranks_whatever_the_order(kept, order):
    features = draw(10)
    held = collect(features, order.tolist(), kept)
    _, numbers = held.settle()
    # No image has more than four times the mean.
    ranks = features[:, 0].flatten(1).double().abs()
    limit = -(-4 * kept // 10)
    for row in ranks:
        row[row.argsort(descending=True)[limit:]] = -1
    ranked = ranks.flatten().argsort(descending=True)
    assert torch.equal(numbers.sort().values, ranked[:kept].sort().values)
    assert held.radius == float(ranks.flatten()[ranked[kept]])


def test_room_that_borders_leave_is_used():
    features = draw(4)
    inside = torch.ones(4, 1, 6, 8, dtype=torch.bool)
    inside[:, :, :2] = False  # the first row of patches
    held = collect(features, range(4), 32, inside)
    assert held.is_thinned
    numbers = held.settle()[1]
    assert torch.equal(numbers, torch.arange(48).view(4, 12)[:, 4:].flatten())
    assert held.radius == 0


def test_memory_while_images_come_in():
    held = collect(draw(50), range(49), 60)
    assert held._rows.shape == (69, 5)
    assert 60 <= held._count <= 69


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@pytest.mark.parametrize('kept', [25, 1000])
def test_those_in_a_file_are_the_same(tmp_path, kept, dtype):
    features, order = draw(10), [3, 8, 1, 0, 9, 5, 2, 7, 4, 6]
    held = collect(features, order, kept, dtype=dtype, folder=tmp_path)
    expected = collect(features, order, kept, dtype=dtype)
    for _ in range(2):
        found = held.settle()
        held.release()
        for one, other in zip(found, expected.settle()):
            assert torch.equal(one, other)
    states = [one.state_of(order[2:7]) for one in (held, expected)]
    for key, value in states[1].items():
        assert torch.equal(states[0][key], value)
    held.clear()
    assert len(held.settle()[0]) == 0


def test_those_in_a_file_do_not_count_for_the_budget(tmp_path):
    features, budget = draw(40), 480 * (3 * 4 + 100)
    in_file = HeldPatches(40, budget, first_value, 3, folder=tmp_path)
    in_memory = HeldPatches(40, budget, first_value, 3)
    for held in (in_file, in_memory):
        held.add(features, list(range(40)))
    assert not in_file.is_thinned
    assert in_memory.is_thinned


@pytest.mark.parametrize('number', [0, 1, 9000])
def test_rows_are_read_in_parts_in_their_order(number):
    rows, calls = torch.randn(20_000, 2), []
    generator = torch.Generator().manual_seed(1)
    ids = torch.randperm(20_000, generator=generator)
    chosen = torch.randperm(20_000, generator=generator)[:number]
    found = replicate_rows(rows, ids, chosen, lambda: calls.append(1))
    assert torch.equal(found, rows[ids.argsort()[chosen]])
    assert len(calls) >= number // 16


@pytest.mark.skipif(
    not Path('/proc/self/status').exists(), reason='needs Linux')
@pytest.mark.parametrize('number', [100, 1000, 8000])
def test_rows_that_are_far_apart_in_a_file_are_read_in_little_memory(
        tmp_path, number):

    def resident():
        status = Path('/proc/self/status').read_text()
        return int(re.search(r'RssFile:\s*(\d+)', status)[1]) >> 10

    file = RowFile(tmp_path, 1 << 16, 384, torch.float32)  # 96 MiB
    file.rows.zero_()
    file.release()
    before, most = resident(), []

    def release():
        most.append(resident() - before)
        file.release()

    chosen = torch.linspace(0, (1 << 16) - 1, number).long()
    replicate_rows(file.rows, torch.arange(1 << 16), chosen, release)
    assert max(most) <= 32


def test_half_precision():
    features = 100 * draw(4)
    rows, numbers = hold(features, range(4), 1000, dtype=torch.float16)
    assert rows.dtype == torch.float16
    expected = hold(features, range(4), 1000)[0]
    torch.testing.assert_close(rows.float(), expected, rtol=2**-11, atol=1e-6)
    found = replicate_rows(rows, numbers, torch.tensor([40, 3]))
    assert found.dtype == torch.float32
    assert torch.equal(found, rows[[40, 3]].float())


def test_values_too_large_for_half_precision():
    features = draw(4)
    features[2, 0, 0, 0] = 7e4
    with pytest.raises(InputError, match='are too large for '):
        hold(features, range(4), 1000, dtype=torch.float16)


def test_a_file_that_cannot_be_written(tmp_path):
    taken = tmp_path / 'file'
    taken.touch()
    with pytest.raises(InputError, match='choose another `held_dir`') as error:
        hold(draw(4), range(4), 1000, folder=taken)
    assert f'cannot be held in "{taken}"' in str(error.value)


def test_fewer_patches_than_images():
    with pytest.raises(
            InputError, match='for 4 patches of 5 values, fewer than the 5 i'):
        hold(draw(5), range(5), 4)


def _hold_share(rank, features, kept):
    order = range(rank, len(features), dist.get_world_size())
    held = collect(features, order, kept)
    return (*held.settle(), torch.tensor(held.radius, dtype=torch.float64))


@pytest.mark.parametrize('world', [2, 3, 4])
@pytest.mark.parametrize('kept', [9, 40])
def test_processes_keep_what_one_keeps(run_processes, world, kept):
    features = draw(9) * torch.arange(1, 10).view(-1, 1, 1, 1)
    held = collect(features, range(9), kept)
    rows, numbers = held.settle()
    parts = run_processes(world, _hold_share, features, kept)
    assert {float(part[2]) for part in parts} == {held.radius}
    found = torch.cat([part[1] for part in parts])
    order = found.argsort()
    assert torch.equal(found[order], numbers)
    assert torch.equal(torch.cat([part[0] for part in parts])[order], rows)


def _replicate(rank, rows, chosen):
    own = torch.arange(len(rows)) % dist.get_world_size() == rank
    if rank == 1:
        own[:] = False
    elif rank == 0:
        own[1::3] = True
    ids = 10 * torch.nonzero(own)[:, 0].flip(0)
    return replicate_rows(rows[own].flip(0), ids, chosen)


def test_every_process_gets_the_rows(run_processes):
    rows = torch.randn(7, 3)
    chosen = torch.tensor([60, 0, 20, 40])
    for found in run_processes(3, _replicate, rows, chosen):
        assert torch.equal(found, rows[[6, 0, 2, 4]])


@pytest.mark.parametrize('kept', [11, 25, 1000])
def test_it_goes_on_from_states(kept):
    features = draw(10) * torch.arange(10, 0, -1).view(-1, 1, 1, 1)
    order = [3, 8, 1, 0, 9, 5, 2, 7, 4, 6]
    held = collect(features, order[:7], kept)
    early = collect(features, order[:4], kept).state_of(order[:4])
    states = [early, held.state_of(order[4:7])]
    going_on = collect(features, [], kept)
    for state in states:
        going_on.add_state(state)
    for image in order[7:]:
        going_on.add(features[image:image + 1], [image])
    whole = collect(features, range(10), kept)
    rows, numbers = whole.settle()
    found, ids = going_on.settle()
    by_id = ids.argsort()
    assert torch.equal(ids[by_id], numbers)
    assert torch.equal(found[by_id], rows)
    assert going_on.radius == whole.radius
