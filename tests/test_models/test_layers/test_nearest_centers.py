from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from coreset_rows import EXTREMES, KINDS, draw_rows
from scipy.spatial.distance import cdist

from mmad.models.layers.nearest_centers import NO_ROW, NearestCenters


@pytest.fixture
def build():
    """Build the distances of rows, with ids, from up to 300 centers."""
    with ThreadPoolExecutor(2) as threads:
        yield lambda rows, ids=None: NearestCenters(
            rows,
            np.arange(len(rows)) if ids is None else ids, 300, threads)


def add_in_parts(nearest_centers, centers):
    for part in (centers[:1], centers[1:9], centers[9:]):
        nearest_centers.add(list(part))


@pytest.mark.parametrize('dim', [3, 16, 70])
@pytest.mark.parametrize('kind', KINDS + EXTREMES)
def test_equals_brute_force(build, kind, dim):
    rows = draw_rows(kind, dim).numpy()
    # As a process would that holds some of the rows.
    found = build(rows[60:])
    add_in_parts(found, rows[:60])
    squares = cdist(rows[60:].astype(float), rows[:60].astype(float),
                    'sqeuclidean')
    np.testing.assert_allclose(found.nearest, squares.min(1), rtol=1e-13)
    np.testing.assert_allclose(
        squares[np.arange(240), found.labels], found.nearest, rtol=1e-13)


@pytest.mark.parametrize('kind', EXTREMES)
def test_centers_of_other_sizes(build, kind):
    # What a process holds says nothing about the rows of the others.
    rows, centers = draw_rows('random'), draw_rows(kind)[:60]
    for held, added in ((rows, centers), (centers, rows[:60])):
        found = build(held.numpy())
        add_in_parts(found, added.numpy())
        np.testing.assert_allclose(
            found.nearest,
            cdist(held.double(), added.double(), 'sqeuclidean').min(1),
            rtol=1e-13)


@pytest.mark.parametrize('kind', ['random', 'duplicated', 'grid'])
@pytest.mark.parametrize('count', [1, 7, 100, 239, 240, 999])
def test_farthest(build, kind, count):
    rows = draw_rows(kind).numpy()
    ids = np.arange(240) * 3 + 100
    found = build(rows[60:], ids)
    add_in_parts(found, rows[:60])
    for taken in (0, 4, 9):
        found.exclude(ids[taken])
        found.exclude(ids[taken] + 1)  # of another process
    assert np.flatnonzero(found.nearest == -1).tolist() == [0, 4, 9]
    keys = [(distance, -number)
            for distance, number in zip(found.nearest, ids)]
    order = sorted(range(240), key=keys.__getitem__, reverse=True)
    positions, others = found.farthest(count)
    assert positions.tolist() == sorted(order[:count])
    if count < 240:
        assert keys[order[count]] <= others < keys[order[count - 1]]
    else:
        assert others == NO_ROW


def test_goes_on_from_a_state(build):
    rows = draw_rows('clustered').numpy()
    found, other = build(rows[60:]), build(rows[60:])
    found.add(list(rows[:1]))
    found.add(list(rows[1:40]))
    found.exclude(3)
    state = found.state()
    found.add(list(rows[40:60]))  # which the state does not follow
    assert int(state['num_centers']) == 40
    other.restore(state, rows[:60])
    assert other.num_centers == 40
    other.add(list(rows[40:60]))
    assert np.array_equal(other.nearest, found.nearest)
    assert np.array_equal(other.labels, found.labels)


def test_no_rows(build):
    found = build(np.empty((0, 5), np.float32))
    found.add(list(np.ones((2, 5), np.float32)))
    found.exclude(3)
    positions, others = found.farthest(4)
    assert not len(positions)
    assert others == NO_ROW
