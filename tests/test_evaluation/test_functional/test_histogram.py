import itertools
import math
import pickle

import numpy as np
import pytest

from mmad.errors import InputError
from mmad.evaluation.functional import (
    ScoreHistogram,
    aupro,
    auroc,
    average_precision,
    best_f1,
    rank,
    region_weights,
)

METRICS = {
    'auroc': auroc,
    'average_precision': average_precision,
    'best_f1': lambda ranking: best_f1(ranking)[0],
    'aupro': aupro,
}


def random_set(seed):
    """Scores of which most share a bin, in an order that binning hides."""
    rng = np.random.default_rng(seed)
    masks = rng.random((3, 20, 20)) < rng.choice([0.02, 0.3])
    masks[0, 2:5, 2:5] = True
    center = rng.choice([-3.0, 0.0, 5.0])
    spread = rng.choice([0.01, 0.3, 4.0])
    maps = center + spread * rng.standard_normal(masks.shape)
    shift = rng.choice([-1.0, 0.0, 1.0]) * rng.choice([1e-3, 0.1, 1.0])
    maps = (maps + shift * masks).astype(np.float32)
    weights, counts = zip(*map(region_weights, masks))
    return maps, masks, np.stack(weights), counts


def add(histogram, scores, labels, weights=None, num_regions=0):
    if weights is not None:
        weights = weights[labels]
    histogram.update(scores[~labels], scores[labels], weights, num_regions)


def fill(bits, maps, masks, weights, counts):
    histogram = ScoreHistogram(bits)
    for item in zip(maps, masks, weights, counts):
        add(histogram, *item)
    return histogram


@pytest.mark.parametrize('bits', [1, 5, 9, 12, 16, 20])
def test_errors_stay_within_their_bounds(bits):
    for seed in range(25):
        maps, masks, weights, counts = random_set(seed)
        exact = rank(maps, masks, weights, sum(counts))
        histogram = fill(bits, maps, masks, weights, counts)
        for name, metric in METRICS.items():
            bound = getattr(histogram, f'{name}_error_bound')()
            error = abs(metric(exact) - metric(histogram.to_ranking()))
            assert 0 <= bound <= 1
            assert error <= bound + 1e-12, (seed, name)


@pytest.mark.parametrize('flip', [1, -1])
def test_bounds_are_reached(flip):
    scores = np.float32(1) + np.arange(8, dtype=np.float32) * 2**-20
    labels = flip * (np.arange(8) - 3.5) > 0
    histogram = ScoreHistogram(9)
    add(histogram, scores, labels, labels / 4, 1)
    exact = rank(scores, labels, labels / 4, 1)
    binned = histogram.to_ranking()
    assert binned.thresholds.size == 1
    assert histogram.auroc_error_bound() == 0.5
    assert abs(auroc(exact) - auroc(binned)) == 0.5
    # Only up to the limit, the truth can lie farther above than below.
    bound = histogram.aupro_error_bound()
    error = aupro(exact) - aupro(binned)
    assert bound == pytest.approx(0.85)
    assert error == pytest.approx(0.85 if flip == 1 else -0.15)


@pytest.mark.parametrize('limit', [0.01, 0.3, 0.99, 1.0])
def test_aupro_bound_for_other_limits(limit):
    for seed in range(15):
        maps, masks, weights, counts = random_set(seed)
        exact = rank(maps, masks, weights, sum(counts))
        histogram = fill(9, maps, masks, weights, counts)
        error = aupro(exact, limit) - aupro(histogram.to_ranking(), limit)
        assert abs(error) <= histogram.aupro_error_bound(limit) + 1e-12


def test_32_bits_are_exact():
    for seed in range(5):
        maps, masks, weights, counts = random_set(seed)
        exact = rank(maps, masks, weights, sum(counts))
        histogram = fill(32, maps, masks, weights, counts)
        for name, metric in METRICS.items():
            assert getattr(histogram, f'{name}_error_bound')() == 0
            assert metric(histogram.to_ranking()) == pytest.approx(
                metric(exact), abs=1e-13)


@pytest.mark.parametrize('bits', [1, 8, 9, 20, 32])
def test_binning_keeps_the_order_and_thresholds_select_the_same(bits):
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 2**32, 2000, dtype=np.uint32)
    scores = np.concatenate(
        [patterns.view(np.float32),
         np.float32([0, -0.0, np.inf, -np.inf])])
    scores = np.sort(scores[~np.isnan(scores)])
    histogram = ScoreHistogram(bits)
    histogram.update(scores, np.zeros(0))
    ranking = histogram.to_ranking()
    assert (np.diff(ranking.thresholds) < 0).all()
    selected = scores.size - np.searchsorted(scores, ranking.thresholds)
    np.testing.assert_array_equal(selected, np.cumsum(ranking.negatives))


def test_addition_equals_joint_filling():
    maps, masks, weights, counts = random_set(3)
    joint = fill(16, maps, masks, weights, counts).to_ranking()
    parts = [
        fill(16, maps[i:i + 1], masks[i:i + 1], weights[i:i + 1],
             counts[i:i + 1]) for i in range(3)
    ]
    added = sum(parts, ScoreHistogram(16)).to_ranking()
    np.testing.assert_array_equal(added.thresholds, joint.thresholds)
    np.testing.assert_array_equal(added.positives, joint.positives)
    np.testing.assert_array_equal(added.negatives, joint.negatives)
    np.testing.assert_allclose(added.overlap, joint.overlap, rtol=1e-12)
    assert added.num_regions == joint.num_regions
    with pytest.raises(ValueError, match='16 and 20 bits'):
        parts[0] + ScoreHistogram(20)


def odd_set(seed):
    """Images of every make-up: pixels, mask, weights, number of regions."""
    rng = np.random.default_rng(seed)
    shape = (9, 11)
    some = np.zeros(shape, dtype=bool)
    some[2:5, 3:6] = some[7, 8] = True
    masks = [
        np.zeros(shape, dtype=bool),  # good, or its defect is cropped away
        some,
        rng.random(shape) < 0.2,
        np.ones(shape, dtype=bool),  # no pixel is good
        np.zeros((0, 11), dtype=bool),  # no pixel is seen
    ]
    images = []
    for mask in masks:
        scores = np.round(rng.standard_normal(mask.shape), 1)
        scores = (scores + rng.choice([0, 0.5, 2]) * mask).astype(np.float32)
        images.append((scores, mask, *region_weights(mask)))
    return images


def assert_within_bounds(histogram, images):
    joint = [
        np.concatenate([np.ravel(image[i]) for image in images])
        for i in range(3)
    ]
    exact = rank(*joint, sum(image[3] for image in images))
    ranking = histogram.to_ranking()
    assert ranking.overlap.sum() == pytest.approx(exact.num_regions)
    for name, metric in METRICS.items():
        bound = getattr(histogram, f'{name}_error_bound')()
        error = metric(exact) - metric(ranking)
        assert math.isnan(bound) == math.isnan(error)
        assert math.isnan(error) or abs(error) <= bound + 1e-12, name


@pytest.mark.parametrize('bits', [9, 20, 32])
def test_no_order_and_no_make_up_breaks_the_bounds(bits):
    for seed, size in itertools.product(range(2), range(1, 6)):
        images = odd_set(seed)
        for chosen in itertools.permutations(images, size):
            assert_within_bounds(fill(bits, *zip(*chosen)), chosen)


@pytest.mark.parametrize('bits', [9, 20])
def test_shards_add_up_in_any_order(bits):
    images = odd_set(5)
    # One shard saw nothing.
    shards = [images[:2], images[2:3], [], images[3:]]
    filled = [
        fill(bits, *zip(*shard)) if shard else ScoreHistogram(bits)
        for shard in shards
    ]
    for order in itertools.permutations(filled):
        assert_within_bounds(sum(order, ScoreHistogram(bits)), images)
    assert_within_bounds(sum(order[1:], order[0]), images)


def test_weights_of_any_type_count():
    for dtype in (np.float32, np.float64, np.int64):
        histogram = ScoreHistogram(20)
        for label in (False, True, False):
            add(histogram, np.ones(2), np.full(2, label),
                np.ones(2, dtype=dtype), 2 * label)
        assert histogram.to_ranking().overlap.tolist() == [2.0]


@pytest.mark.parametrize('bits', [9, 20, 32])
@pytest.mark.parametrize('seed', range(3))
def test_every_division_gives_the_same_bits(bits, seed, monkeypatch):
    rng = np.random.default_rng(seed)
    maps, masks, _, _ = random_set(seed)
    # Sums of such weights depend on the order in floating point.
    pixels = (maps.ravel(), masks.ravel(), rng.random(maps.size))
    joint = ScoreHistogram(bits)
    add(joint, *pixels, 3)
    expected = joint.to_ranking()
    above = np.inf
    for overlap, threshold in zip(expected.overlap, expected.thresholds):
        inside = masks & (threshold <= maps) & (maps < above)
        assert overlap == pytest.approx(
            math.fsum(pixels[2][inside.ravel()]), abs=1e-15 * maps.size)
        above = threshold
    for buffer in (1, 50, 10**6):
        monkeypatch.setattr('mmad.evaluation.functional.histogram._BUFFER',
                            buffer)
        order = rng.permutation(maps.size)
        parts = [ScoreHistogram(bits) for _ in range(3)]
        for i, chosen in enumerate(np.array_split(order, 40)):
            add(parts[rng.integers(3)], *(part[chosen] for part in pixels),
                i % 13 == 1)
        parts[1] = pickle.loads(pickle.dumps(parts[1]))
        parts[0].to_ranking()  # reading does not change what is added
        total = sum(parts, ScoreHistogram(bits)).to_ranking()
        assert total.num_regions == 3
        for one, other in zip(total[:4], expected[:4]):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr('mmad.evaluation.functional.histogram._BUFFER', 2**12)
    rng = np.random.default_rng(0)
    histogram = ScoreHistogram(10)
    sizes = []
    for _ in range(40):
        scores = rng.standard_cauchy(1000).astype(np.float32)
        add(histogram, scores, scores > 1)
        sizes.append(len(pickle.dumps(vars(histogram))))
    assert max(sizes) < 36 * 2**10 + 12 * 2**12 + 4000
    assert histogram.to_ranking().thresholds.size <= 2**10


def test_undefined_and_refused():
    histogram = ScoreHistogram()
    histogram.update(np.ones(4), np.zeros(0))
    for name, metric in METRICS.items():
        assert math.isnan(metric(histogram.to_ranking()))
        assert math.isnan(getattr(histogram, f'{name}_error_bound')())
    with pytest.raises(InputError, match='NaN'):
        histogram.update(np.zeros(0), np.array([np.nan]))
    for bits in (0, 33):
        with pytest.raises(InputError, match='from 1 to 32'):
            ScoreHistogram(bits)
