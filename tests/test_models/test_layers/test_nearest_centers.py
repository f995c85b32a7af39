from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from coreset_rows import KINDS, draw_rows, squared

from mmad.models.layers.nearest_centers import NO_ROW, NearestCenters


@pytest.fixture(scope='module')
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def make(rows, threads, ids=None):
    ids = np.arange(len(rows)) if ids is None else ids
    return NearestCenters(rows, ids, 50, threads)


@pytest.mark.parametrize('kind', KINDS)
def test_distances_are_those_of_the_nearest_of_all_centers(kind, threads):
    rows = draw_rows(kind).numpy()
    found, added = make(rows, threads), []
    for step in ([3], [7, 200, 11], range(40, 60)):
        centers = [rows[place] + np.float32(0.25) for place in step]
        added += centers
        found.add(centers)
        exact = squared(rows, added)
        np.testing.assert_allclose(found.nearest, exact.min(1), rtol=1e-12)
        own = exact[np.arange(len(rows)), found.labels]
        np.testing.assert_allclose(own, exact.min(1), rtol=1e-12)


@pytest.mark.parametrize('count', [1, 2, 5, 6, 11, 12, 13, 40])
def test_the_farthest_rows(threads, count):
    found = make(
        draw_rows('random', number=13).numpy(), threads,
        np.arange(13) * 3 + 5)
    found.nearest[:] = [4, 1, 4, 0, 9, 4, -1, 1, 4, 9, 2, 0, 4]
    keys = [(value, -number)
            for value, number in zip(found.nearest, found.ids)]
    places, limit = found.farthest(count)
    expected = sorted(range(13), key=keys.__getitem__, reverse=True)[:count]
    assert places.tolist() == sorted(expected)
    assert all(keys[place] > limit for place in places)
    assert all(keys[place] <= limit for place in set(range(13)) - set(places))
    assert (limit == NO_ROW) is (count >= 13)


def test_only_own_rows_are_excluded(threads):
    found = make(
        draw_rows('random', number=4).numpy(), threads, np.array([2, 3, 8, 9]))
    for number in (8, 5, 1, 10):
        found.exclude(number)
    assert np.flatnonzero(found.nearest == -1).tolist() == [2]


def test_an_earlier_state_is_taken_up(threads):
    rows = draw_rows('clustered').numpy()
    first, second = make(rows, threads), make(rows, threads)
    first.add([rows[0], rows[9]])
    first.exclude(9)
    second.restore(first.state(), rows[[0, 9, 17]])
    for one in (first, second):
        one.add([rows[30]])
        assert one.num_centers == 3
        np.testing.assert_array_equal(one.centers[:3], rows[[0, 9, 30]])
    np.testing.assert_array_equal(second.nearest, first.nearest)
    np.testing.assert_array_equal(second.labels, first.labels)
