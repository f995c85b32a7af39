import numpy as np
import pytest
from brute_force import area_up_to, count_spro_curve
from scipy import ndimage

from mmad.evaluation.functional import (
    ScoreHistogram,
    aupro,
    pixel_weights,
    rank,
    region_weights,
    saturated_weights,
)

LIMITS = (0.01, 0.05, 0.3, 1.0)


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


@pytest.mark.parametrize('seed', range(5))
def test_weights_of_the_pixels_in_regions(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((20, 30), dtype=bool)
    mask[4:17, 9:28] = rng.random((13, 19)) < 0.2
    components, number = ndimage.label(mask, np.ones((3, 3)))
    weights, num_regions = pixel_weights(mask)
    assert num_regions == number
    expected = [1 / (components == one).sum() for one in components[mask]]
    np.testing.assert_array_equal(weights, expected)


def test_empty_and_full():
    weights, num_regions = region_weights(np.zeros((3, 4), dtype=bool))
    assert num_regions == 0
    np.testing.assert_array_equal(weights, np.zeros((3, 4)))
    weights, num_regions = region_weights(np.ones((3, 4), dtype=bool))
    assert num_regions == 1
    np.testing.assert_array_equal(weights, np.full((3, 4), 1 / 12))


def make_images(seed):
    """Images of several sizes with ties and regions that overlap, of which
    some have fewer pixels than their saturation area."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(rng.integers(1, 6)):
        size = tuple(rng.integers(3, 12, 2))
        regions = rng.random((rng.integers(0,
                                           4), *size)) < rng.choice([0.1, 0.5])
        regions = regions[regions.any((1, 2))]
        # Few distinct scores, or all distinct ones.
        scores = rng.normal(size=size) + regions.sum(0)
        scores = np.round(scores, rng.choice([0, 1, 9])).astype(np.float32)
        areas = regions.sum((1, 2)) * rng.uniform(0.05, 1.3, len(regions))
        images.append((scores, regions, areas))
    # At least one region, and one pixel without.
    scores = np.array([[1, 0, 2, 2]], np.float32)
    images.append((scores, np.array([[[True, True, True, False]]]), [1.7]))
    return images


def weights_of(scores, regions, areas):
    flat = saturated_weights(scores.ravel(),
                             regions.reshape(len(regions), scores.size), areas)
    return flat.reshape(scores.shape)


def collect(images):
    """Scores, labels, weights and number of regions of all images."""
    scores = np.concatenate([scores.ravel() for scores, *_ in images])
    labels = np.concatenate(
        [regions.any(0).ravel() for _, regions, _ in images])
    weights = np.concatenate([weights_of(*image).ravel() for image in images])
    return scores, labels, weights, sum(len(image[1]) for image in images)


@pytest.mark.parametrize('seed', range(40))
def test_against_a_count_at_each_threshold(seed):
    images = make_images(seed)
    ranking = rank(*collect(images))
    points = count_spro_curve(images)
    for limit in LIMITS:
        expected = area_up_to(points, limit)
        assert abs(aupro(ranking, limit) - expected) <= 1e-12
    order = np.random.default_rng(seed).permutation(len(images))
    again = rank(*collect([images[i] for i in order]))
    for limit in LIMITS:
        assert abs(aupro(again, limit) - aupro(ranking, limit)) <= 1e-12


@pytest.mark.parametrize('seed', range(10))
@pytest.mark.parametrize('bits', [10, 14, 32])
def test_bins_stay_within_their_bound(seed, bits):
    images = make_images(seed)
    histogram = ScoreHistogram(bits)
    for image in images:
        scores, labels, weights, num_regions = collect([image])
        histogram.update(scores[~labels], scores[labels], weights[labels],
                         num_regions)
    points = count_spro_curve(images)
    for limit in LIMITS:
        expected = area_up_to(points, limit)
        error = abs(aupro(histogram.to_ranking(), limit) - expected)
        assert error <= histogram.aupro_error_bound(limit) + 1e-12


@pytest.mark.parametrize('seed', range(10))
def test_whole_components_are_those_of_the_pro(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((20, 30)) < 0.2
    scores = np.round(rng.normal(size=mask.shape), 1)
    expected, number = region_weights(mask)
    values = expected[mask]
    labels = ndimage.label(mask, np.ones((3, 3)))[0]
    regions = labels == np.arange(1, labels.max() + 1)[:, None, None]
    assert len(regions) == number
    weights = weights_of(scores, regions, regions.sum((1, 2)))
    assert weights[mask] == pytest.approx(values, abs=1e-12)
    assert not weights[~mask].any()


def test_only_the_highest_scores_count():
    scores = np.array([5.0, 1.0, 4.0, 3.0, 9.0])
    region = np.array([[True, True, True, True, False]])
    weights = saturated_weights(scores, region, [2.5])
    assert weights == pytest.approx([0.4, 0, 0.4, 0.2, 0])
    # A quarter of a pixel is found with the first one.
    assert saturated_weights(scores, region,
                             [0.25]).tolist() == [1, 0, 0, 0, 0]
    assert saturated_weights(scores, region, [8]).sum() == pytest.approx(0.5)


def test_overlapping_regions_add_up():
    scores = np.array([3.0, 2.0, 1.0])
    regions = np.array([[True, True, False], [False, True, True]])
    assert saturated_weights(scores, regions, [2, 1]).tolist() == [0.5, 1.5, 0]
    with pytest.raises(ValueError, match='zip'):
        saturated_weights(scores, regions, [1])
