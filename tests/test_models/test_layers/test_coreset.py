from itertools import pairwise

import numpy as np
import pytest
import torch
from coreset_rows import EXTREMES, KINDS, draw_rows

from mmad.errors import InputError
from mmad.models.layers import coreset, device_greedy
from mmad.models.layers.coreset import (
    k_center_greedy,
    random_projection,
)
from mmad.models.layers.nearest_centers import NearestCenters
from mmad.models.layers.row_distances import RowDistances


def naive(rows, number, first=0):
    """Algorithm 1 of the paper, literally, in float64."""
    rows = np.asarray(rows, np.float64)
    nearest = np.full(len(rows), np.inf)
    chosen = []
    for _ in range(number):
        chosen.append(first)
        nearest = np.minimum(nearest, np.square(rows - rows[first]).sum(1))
        nearest[first] = -1
        first = int(nearest.argmax())
    return chosen


def radius(rows, chosen):
    rows = torch.as_tensor(rows).double()
    return torch.cdist(rows, rows[chosen]).min(1).values.max()


@pytest.fixture(params=[1, 7, 100, 1024])
def num_candidates(request, monkeypatch):
    """The number of candidates, which does not change what is chosen."""
    monkeypatch.setattr(coreset, '_NUM_CANDIDATES', request.param)


@pytest.mark.parametrize('dim', [3, 16, 128])
@pytest.mark.parametrize('kind', KINDS + EXTREMES)
def test_equals_the_naive_loop(kind, dim, num_candidates):
    rows = draw_rows(kind, dim)
    for number in (1, 40, 300):
        assert k_center_greedy(rows, number).tolist() == naive(rows, number)


@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize('kind', ['random', 'clustered', 'duplicated'])
def test_many_rows(kind, threads):
    rows = draw_rows(kind, 8, 4000)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert k_center_greedy(rows, 900).tolist() == naive(rows, 900)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize('rows', [torch.zeros(50, 4), torch.ones(50, 200)])
def test_equal_rows_are_taken_once_each(rows, num_candidates):
    assert k_center_greedy(
        rows, 50, first=7).tolist() == [7, *range(7), *range(8, 50)]


def test_first_and_row_ids():
    rows = draw_rows('random', 5, 60)
    ids = torch.arange(60) * 3 + 100
    chosen = k_center_greedy(rows, 20, first=130, row_ids=ids)
    assert chosen.tolist() == [100 + 3 * i for i in naive(rows, 20, 10)]


@pytest.mark.parametrize('kind', KINDS)
def test_radius(kind):
    rows = draw_rows(kind, 16)
    chosen = k_center_greedy(rows, 60)
    radii = [radius(rows, chosen[:n]) for n in range(1, 61)]
    assert all(a >= b for a, b in pairwise(radii))
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        subset = torch.randperm(len(rows), generator=generator)[:60]
        assert radii[-1] <= radius(rows, subset)


def test_gonzalez_bound():
    # Greedy is at most twice as bad as any choice of as many centers.
    rows = draw_rows('random', 2, 40)
    distances = torch.cdist(rows.double(), rows.double())
    i, j, k = torch.combinations(torch.arange(40), 3).T
    best = torch.minimum(distances[i],
                         torch.minimum(distances[j],
                                       distances[k])).max(1).values.min()
    assert radius(rows, k_center_greedy(rows, 3)) <= 2 * best


@pytest.mark.parametrize('number', [0, -1, 11])
def test_number_out_of_range(number):
    with pytest.raises(InputError, match=f'cannot select {number} of 10'):
        k_center_greedy(torch.zeros(10, 2), number)


def test_unknown_first():
    with pytest.raises(InputError, match='first row 10'):
        k_center_greedy(torch.zeros(10, 2), 3, first=10)


def _choose(rank, shards, number, first):
    rows, ids = shards[rank]
    return k_center_greedy(rows, number, first, ids)


@pytest.mark.parametrize('kind', ['random', 'grid', 'scales'])
@pytest.mark.parametrize('sizes', [(90, 30), (50, 0, 70)])
def test_processes_choose_as_one(run_processes, kind, sizes, monkeypatch):
    monkeypatch.setattr(coreset, '_NUM_CANDIDATES', 9)
    rows = draw_rows(kind, 16, 120)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    shards = [(rows[ids], ids)
              for ids in (part.sort().values for part in order.split(sizes))]
    alone = k_center_greedy(rows, 100, first=33)
    assert alone.tolist() == naive(rows, 100, 33)
    for chosen in run_processes(len(sizes), _choose, shards, 100, 33):
        assert torch.equal(chosen, alone)


def test_random_projection():
    matrix = random_projection(400, 100, seed=3)
    assert torch.equal(matrix, random_projection(400, 100, seed=3))
    assert not torch.equal(matrix, random_projection(400, 100, seed=4))
    assert matrix.shape == (400, 100)
    assert matrix.dtype == torch.float32
    # Squared lengths survive on average; standard error below 1 %.
    rows = draw_rows('random', 400, 200)
    ratio = (rows @ matrix).square().sum(1) / rows.square().sum(1)
    assert abs(float(ratio.mean()) - 1) < 0.05
    assert abs(float(matrix.var()) * 100 - 1) < 0.05


@pytest.mark.parametrize('number', [1, 40])
def test_an_earlier_choice_is_continued(number):
    rows = draw_rows('random', 16)
    whole = k_center_greedy(rows, number + 100)
    centers = rows[whole[:number]]
    ids = torch.arange(len(rows))
    rest = ids[~torch.isin(ids, whole[:number])]
    found = k_center_greedy(rows[rest], 100, row_ids=rest, centers=centers)
    assert torch.equal(found, whole[number:])


@pytest.fixture
def note_each(monkeypatch):
    """Note each choice, with few candidates."""
    monkeypatch.setattr(coreset, '_NOTED', 1)
    monkeypatch.setattr(coreset, '_NUM_CANDIDATES', 9)
    monkeypatch.setattr(device_greedy, '_NUM_CANDIDATES', 9)


@pytest.mark.parametrize('picks', ['_host_picks', '_device_picks'])
@pytest.mark.parametrize('centers', [0, 20])
@pytest.mark.parametrize('kind', KINDS)
def test_an_interrupted_choice_goes_on(kind, centers, picks, note_each,
                                       monkeypatch):
    monkeypatch.setattr(coreset, '_host_picks', getattr(coreset, picks))
    rows = draw_rows(kind, 16, 90)
    arguments = dict(first=33, row_ids=torch.arange(70) * 3)
    if centers:
        arguments['centers'] = rows[70:]
    rows, notes = rows[:70], []
    whole = k_center_greedy(
        rows, 70, note=lambda tell: notes.append(tell()), **arguments)
    assert [note['chosen'].tolist()
            for note in notes] == [whole[:n].tolist() for n in range(1, 71)]
    for state in [None, notes[0], *notes[6::21]]:
        told = []
        found = k_center_greedy(
            rows, 70, state=state, note=told.append, **arguments)
        assert torch.equal(found, whole)
        assert len(told) == 70 - (len(state['chosen']) if state else 0)


@pytest.mark.parametrize(('picks', 'distances'),
                         [('_host_picks', NearestCenters),
                          ('_device_picks', RowDistances)])
def test_distances_are_not_computed_again(picks, distances, note_each,
                                          monkeypatch):
    monkeypatch.setattr(coreset, '_host_picks', getattr(coreset, picks))
    rows, notes, added = draw_rows('random', 16), [], []
    add = distances.add
    monkeypatch.setattr(
        distances, 'add', lambda self, centers, *args:
        (added.append(len(centers)), add(self, centers, *args)))
    k_center_greedy(rows, 200, note=lambda tell: notes.append(tell()))
    whole = sum(added)
    for state in notes[::40]:
        added.clear()
        k_center_greedy(rows, 200, state=state)
        # Those that only the nine candidates had met may be left to meet.
        assert sum(added) <= whole - len(state['chosen']) + 9


def _go_on(rank, shards, number, first, picks):
    # As the processes have modules of their own.
    coreset._NOTED = 1
    coreset._NUM_CANDIDATES = device_greedy._NUM_CANDIDATES = 9
    coreset._host_picks = getattr(coreset, picks)
    rows, ids = shards[rank]
    notes = []
    found = [
        k_center_greedy(
            rows, number, first, ids, note=lambda tell: notes.append(tell()))
    ]
    for state in notes[::23]:
        told = []
        found.append(
            k_center_greedy(
                rows, number, first, ids, state=state, note=told.append))
        assert len(told) == number - len(state['chosen'])
    return found


@pytest.mark.parametrize('picks', ['_host_picks', '_device_picks'])
@pytest.mark.parametrize('kind', ['duplicated', 'grid'])
@pytest.mark.parametrize('sizes', [(90, 30), (50, 0, 70)])
def test_processes_go_on_as_one(run_processes, kind, sizes, picks):
    rows = draw_rows(kind, 16, 120)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    shards = [(rows[ids], ids)
              for ids in (part.sort().values for part in order.split(sizes))]
    whole = k_center_greedy(rows, 110, first=33)
    for found in run_processes(len(sizes), _go_on, shards, 110, 33, picks):
        assert len(found) == 6
        assert all(torch.equal(one, whole) for one in found)
