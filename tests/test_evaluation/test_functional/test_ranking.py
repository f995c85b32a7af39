import numpy as np
import pytest

from mmad.errors import InputError
from mmad.evaluation.functional import curves, rank, rank_sorted, thin
from mmad.evaluation.functional import ranking as ranking_module


def test_entries_by_hand():
    scores = np.array([5, 4, 4, 3, 2, 2, 1, 0], dtype=np.float32)
    labels = np.array([0, 1, 0, 0, 0, 1, 0, 0], dtype=bool)
    weights = np.array([0, .5, 0, 0, 0, .5, 0, 0])
    ranking = rank(scores, labels, weights, 1)
    np.testing.assert_array_equal(ranking.thresholds, [5, 4, 3, 2, 0])
    np.testing.assert_array_equal(ranking.positives, [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(ranking.negatives, [1, 1, 1, 1, 2])
    np.testing.assert_array_equal(ranking.overlap, [0, .5, 0, .5, 0])
    assert ranking.num_regions == 1
    assert ranking.positives.dtype == ranking.negatives.dtype == np.int64


@pytest.mark.parametrize('seed', range(5))
def test_counts_above_each_threshold(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-9, 9, 200).astype(np.float32)
    labels = rng.random(200) < rng.random()
    weights = rng.random(200)
    ranking = rank(scores, labels, weights, 3)
    assert (np.diff(ranking.thresholds) < 0).all()
    assert set(scores[labels]) <= set(ranking.thresholds)
    chosen = [scores >= threshold for threshold in ranking.thresholds]
    for values, share in ((ranking.positives, labels),
                          (ranking.negatives, ~labels), (ranking.overlap,
                                                         labels * weights)):
        expected = [share[above].sum() for above in chosen]
        np.testing.assert_allclose(np.cumsum(values), expected, rtol=1e-12)


@pytest.mark.parametrize('dtype', [np.int64, np.uint8, bool])
def test_scores_that_are_integers(dtype):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 200, 50).astype(dtype)
    labels = rng.random(50) < 0.3
    for one, other in zip(
            rank(scores, labels), rank(scores.astype(float), labels)):
        np.testing.assert_array_equal(one, other)


def test_parts_equal_the_whole():
    rng = np.random.default_rng(0)
    negatives = rng.integers(0, 50, 300).astype(np.float32)
    positives = rng.integers(20, 70, 40).astype(np.float32)
    parts = [np.sort(part) for part in np.split(negatives, [10, 10, 120])]
    split = rank_sorted(parts, positives)
    whole = rank(np.concatenate([negatives, positives]), np.arange(340) >= 300)
    for one, other in zip(split, whole):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('size', [1, 7, 64])
@pytest.mark.parametrize('levels', [3, 60, 2**20])
def test_ranges_equal_the_whole(monkeypatch, size, levels):
    rng = np.random.default_rng(levels)
    parts = [
        np.sort(rng.integers(0, levels, number) / np.float32(7))
        for number in (200, 0, 30)
    ]
    positives = rng.integers(levels // 3, 2 * levels, 150) / np.float32(7)
    weights = rng.integers(0, 9, 150) / 8
    whole = rank_sorted(parts, positives, weights, 5)
    monkeypatch.setattr(ranking_module, '_RANGE', size)
    for one, other in zip(rank_sorted(parts, positives, weights, 5), whole):
        np.testing.assert_array_equal(one, other)


def test_infinite_and_signed_zero_scores():
    scores = np.array([np.inf, -0.0, 0.0, -np.inf], dtype=np.float32)
    ranking = rank(scores, np.array([True, True, False, False]))
    np.testing.assert_array_equal(ranking.thresholds, [np.inf, 0, -np.inf])
    np.testing.assert_array_equal(ranking.positives, [1, 1, 0])
    np.testing.assert_array_equal(ranking.negatives, [0, 1, 1])


def test_empty():
    ranking = rank(np.zeros(0), np.zeros(0, dtype=bool))
    assert ranking.thresholds.size == 0


def test_nan_is_refused():
    with pytest.raises(InputError, match='1 of 2 scores are NaN'):
        rank(np.array([0, np.nan]), np.array([True, False]))


def test_inputs_are_left_alone():
    scores = np.array([3, 1, 2], dtype=np.float32)
    rank(scores, np.zeros(3, dtype=bool))
    np.testing.assert_array_equal(scores, [3, 1, 2])


@pytest.mark.parametrize('points', [8, 40, 400])
@pytest.mark.parametrize('seed', range(3))
def test_thinned_curves_are_exact_where_they_are_left(seed, points):
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1, 5000)
    labels = scores + rng.normal(0, 1, 5000) > 1.5
    whole = rank(scores, labels, rng.random(5000) / labels.sum(), 1)
    few = thin(whole, 0.3, points)
    assert len(few.thresholds) <= points
    place = np.searchsorted(-whole.thresholds, -few.thresholds)
    np.testing.assert_array_equal(whole.thresholds[place], few.thresholds)
    for values, part in zip(curves(whole), curves(few)):
        np.testing.assert_allclose(values[place], part, rtol=1e-12)
    assert place[-1] == len(whole.thresholds) - 1
    step = 1 / (points // 4 - 1) + 1e-9
    for counts, part in ((whole.positives, few.positives),
                         (whole.negatives, few.negatives), (whole.overlap,
                                                            few.overlap)):
        assert ((part - counts[place]) <= step * counts.sum()).all()
    low = curves(few).fpr <= 0.3
    rise = (few.negatives - whole.negatives[place])[low]
    assert (rise <= 0.3 * step * whole.negatives.sum()).all()


def test_few_entries_are_not_thinned():
    ranking = rank(np.arange(9.0), np.arange(9) > 4)
    assert thin(ranking, 0.3) is ranking
