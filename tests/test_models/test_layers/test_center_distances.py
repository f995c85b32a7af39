import numpy as np
import pytest
from coreset_rows import EXTREMES, KINDS, draw_rows
from scipy.spatial.distance import cdist

from mmad.models.layers.center_distances import (
    SKETCH_DIM,
    add_center,
    add_centers,
    sort_by_label,
    squared_distance,
)


def squares(rows, centers):
    return cdist(rows.astype(float), centers.astype(float), 'sqeuclidean')


def sketch(rows):
    """Some coordinates, which are no farther from each other."""
    found = np.zeros((len(rows), SKETCH_DIM), np.float32)
    found[:, :rows.shape[1]] = rows[:, :SKETCH_DIM]
    return found


@pytest.fixture(params=[(kind, dim) for kind in KINDS + EXTREMES
                        for dim in (1, 21)])
def parts(request):
    """Rows and centers, none of which is one of the rows, as NumPy arrays."""
    kind, dim = request.param
    rows = draw_rows(kind, dim, 150).numpy()
    # Zeros leave the squares of huge sketches out.
    sketches = np.zeros((150, SKETCH_DIM), np.float32)
    if kind in KINDS:
        sketches = sketch(rows)
    tolerance = 1e-4 * np.square(sketches).sum(1).max()
    return rows[:120], rows[120:], sketches[:120], sketches[120:], np.float32(
        tolerance)


@pytest.mark.parametrize('dim', [1, 3, 4, 16, 129])
def test_squared_distance(dim):
    rows = draw_rows('random', dim, 40).numpy()
    found = [[squared_distance(rows, i, rows, j) for j in range(40)]
             for i in range(40)]
    np.testing.assert_allclose(found, squares(rows, rows), rtol=1e-13)
    # Ties between processes rely on it.
    assert np.array_equal(found, np.transpose(found))


def test_one_center_after_the_other(parts):
    rows, centers, sketches, center_sketches, tolerance = parts
    nearest = np.full(len(rows), np.inf)
    nearest[5] = -1  # taken
    for number in range(len(centers)):
        add_center(rows, sketches, centers[number:number + 1],
                   center_sketches[number], nearest, tolerance)
        expected = squares(rows, centers[:number + 1]).min(1)
        expected[5] = -1
        np.testing.assert_allclose(nearest, expected, rtol=1e-13)


@pytest.mark.parametrize('sizes', [(30, ), (1, 29), (1, 4, 25)])
def test_centers_at_once(parts, sizes):
    rows, centers, sketches, center_sketches, tolerance = parts
    alone, nearest = np.full((2, len(rows)), np.inf)
    nearest[5] = -1
    labels = np.zeros(len(rows), np.int32)
    old = 0
    for new in np.cumsum(sizes):
        order = sort_by_label(labels, max(old, 1))
        for part in np.array_split(order, 3):
            add_centers(rows, sketches, part, centers[:new],
                        center_sketches[:new], old, nearest, labels, tolerance)
        old = new
        every = squares(rows, centers[:new])
        left = np.arange(len(rows)) != 5
        np.testing.assert_allclose(nearest[left], every.min(1)[left], 1e-13)
        np.testing.assert_allclose(every[left, labels[left]], nearest[left],
                                   1e-13)
        assert nearest[5] == -1
    for number in range(len(centers)):
        add_center(rows, sketches, centers[number:number + 1],
                   center_sketches[number], alone, tolerance)
    # Candidates and the other rows are compared with each other.
    assert np.array_equal(alone[left], nearest[left])


def test_a_center_almost_twice_as_far():
    row, centers = np.float32([[1]]), np.float32([[0], [1.9]])
    nearest, labels = np.ones(1), np.zeros(1, np.int32)
    add_centers(row, sketch(row), np.arange(1), centers, sketch(centers), 1,
                nearest, labels, np.float32(1e-4))
    assert nearest[0] == pytest.approx(0.81)
    assert labels[0] == 1


@pytest.mark.parametrize('number', [0, 1, 200])
def test_sort_by_label(number):
    labels = np.random.default_rng(0).integers(7, size=number, dtype=np.int32)
    assert np.array_equal(
        sort_by_label(labels, 9), np.argsort(labels, kind='stable'))
