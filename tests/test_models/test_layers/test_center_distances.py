import numpy as np
import pytest
from coreset_rows import KINDS, draw_rows, squared

from mmad.models.layers.center_distances import (
    SKETCH_DIM,
    add_center,
    sort_by_label,
    squared_distance,
)


@pytest.mark.parametrize('dim', [1, 3, 4, 18])
def test_a_distance_is_the_same_both_ways(dim):
    a, b = (draw_rows(kind, dim, 9).numpy() for kind in ('offset', 'random'))
    exact = squared(a, b)
    for i in range(9):
        for j in range(9):
            found = squared_distance(a, i, b, j)
            assert found == squared_distance(b, j, a, i)
            assert found == pytest.approx(exact[i, j], rel=1e-12)
    assert squared_distance(a, 2, a, 2) == 0


@pytest.mark.parametrize('labels', [[], [0], [3, 1, 3, 0, 1, 3, 5]])
def test_labels_are_sorted_in_order(labels):
    labels = np.array(labels, np.int32)
    assert sort_by_label(labels,
                         7).tolist() == labels.argsort(kind='stable').tolist()


@pytest.mark.parametrize('kind', KINDS)
def test_one_more_center(kind):
    rows = draw_rows(kind).numpy()
    # Their first coordinates, of which a difference is no longer.
    sketches = rows[:, :SKETCH_DIM]
    nearest = squared(rows, rows[:2]).min(1)
    nearest[0] = -1
    expected = np.minimum(nearest, squared(rows, rows[[7]])[:, 0])
    add_center(rows, sketches, rows[[7]], sketches[7], nearest,
               np.float32(1e-4) * np.square(rows).sum(1).max())
    np.testing.assert_allclose(nearest, expected, rtol=1e-12)
    assert nearest[0] == -1
    assert nearest[7] == 0
