import numpy as np

from mmad.evaluation.functional import region_weights


def test_diagonal_neighbors_are_one_region():
    mask = np.eye(4, dtype=bool)
    weights, num_regions = region_weights(mask)
    assert num_regions == 1
    np.testing.assert_array_equal(weights, np.eye(4) / 4)
    assert weights.dtype == np.float64


def test_snake_is_one_region():
    mask = np.zeros((41, 41), dtype=bool)
    mask[::4] = True
    mask[1::8, -1] = mask[2::8, -1] = mask[3::8, -1] = True
    mask[5::8, 0] = mask[6::8, 0] = mask[7::8, 0] = True
    weights, num_regions = region_weights(mask)
    assert num_regions == 1
    np.testing.assert_array_equal(weights[mask], 1 / mask.sum())


def test_regions_weigh_the_same():
    mask = np.zeros((9, 9), dtype=bool)
    mask[0, 0] = True
    mask[3:6, 3:9] = True
    weights, num_regions = region_weights(mask)
    assert num_regions == 2
    assert weights[0, 0] == 1
    np.testing.assert_array_equal(weights[3:6, 3:9], 1 / 18)
    assert not weights[~mask].any()


def test_empty_and_full():
    weights, num_regions = region_weights(np.zeros((3, 4), dtype=bool))
    assert num_regions == 0
    np.testing.assert_array_equal(weights, np.zeros((3, 4)))
    weights, num_regions = region_weights(np.ones((3, 4), dtype=bool))
    assert num_regions == 1
    np.testing.assert_array_equal(weights, np.full((3, 4), 1 / 12))
