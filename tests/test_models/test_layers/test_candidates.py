from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from coreset_rows import EXTREMES, KINDS, draw_rows
from scipy.spatial.distance import cdist

from mmad.models.layers.candidates import Candidates
from mmad.models.layers.nearest_centers import NO_ROW, NearestCenters

FIRST, COUNT = 20, 15


def take_all(own, rows, ids):
    """The keys of all candidates, taken one after the other.

    They are the farthest of each process, which holds its ``own`` rows; the
    first rows are centers.
    """
    with ThreadPoolExecutor(1) as threads:
        nearest_centers = NearestCenters(rows[own], ids[own], len(rows),
                                         threads)
        nearest_centers.add(list(rows[:1]))
        nearest_centers.add(list(rows[1:FIRST]))
        positions, _ = nearest_centers.farthest(COUNT)
        candidates = Candidates(nearest_centers, positions)
        keys = []
        while (key := candidates.farthest()) != NO_ROW:
            candidates.take()
            keys.append(key)
        assert np.array_equal(
            candidates.centers,
            rows[np.searchsorted(ids, [-int(key) for _, key in keys])])
        # Of the others, the distances are as before.
        taken = nearest_centers.nearest == -1
        assert np.flatnonzero(taken).tolist() == positions.tolist()
        nearest_centers.add(candidates.centers)
        assert (nearest_centers.nearest[taken] == -1).all()
    return keys


def take_by_brute_force(owns, rows, ids):
    squares = cdist(rows.astype(float), rows.astype(float), 'sqeuclidean')
    nearest = squares[:, :FIRST].min(1)
    # Of equal ones, the first.
    left = {
        int(row)
        for own in owns
        for row in own[np.argsort(-nearest[own], kind='stable')[:COUNT]]
    }
    keys = []
    while left:
        farthest = max(left, key=lambda row: (nearest[row], -row))
        keys.append((nearest[farthest], -ids[farthest]))
        nearest = np.minimum(nearest, squares[farthest])
        left.remove(farthest)
    return keys


def draw(kind):
    """Rows with their ids; those of a process are from 20 on."""
    return draw_rows(kind, 9, 120).numpy(), np.arange(120) * 2 + 7


@pytest.mark.parametrize('kind', KINDS + EXTREMES)
def test_taken_by_brute_force(kind):
    rows, ids = draw(kind)
    own = np.arange(FIRST, 120)
    found = take_all(own, rows, ids)
    expected = take_by_brute_force([own], rows, ids)
    assert len(found) == COUNT
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def _shard(rank, owns, rows, ids):
    return torch.tensor(take_all(owns[rank], rows, ids), dtype=torch.float64)


@pytest.mark.parametrize('kind', ['random', 'grid'])
@pytest.mark.parametrize('sizes', [(60, 40), (7, 0, 93)])
def test_processes_take_the_same(run_processes, kind, sizes):
    rows, ids = draw(kind)
    order = FIRST + np.random.default_rng(0).permutation(100)
    owns = [np.sort(own) for own in np.split(order, np.cumsum(sizes)[:-1])]
    expected = take_by_brute_force(owns, rows, ids)
    for found in run_processes(len(sizes), _shard, owns, rows, ids):
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_no_candidates():
    with ThreadPoolExecutor(1) as threads:
        nearest_centers = NearestCenters(
            np.ones((3, 4), np.float32), np.arange(3), 1, threads)
        nearest_centers.exclude(1)
        candidates = Candidates(nearest_centers, np.array([1]))
    assert candidates.farthest() == NO_ROW
