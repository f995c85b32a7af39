import itertools
import math

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)

from mmad.evaluation.functional import (
    aupro,
    auroc,
    average_precision,
    best_f1,
    curves,
    rank,
    region_weights,
)


def brute_force_aupro(maps, masks, limit):
    """Loop over thresholds and regions, straight from the definition."""
    regions = []
    for index, mask in enumerate(masks):
        labeled, num = ndimage.label(mask, np.ones((3, 3)))
        regions += [(index, labeled == k + 1) for k in range(num)]
    points = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        found = maps >= threshold
        fpr = found[~masks].mean()
        pro = np.mean([found[i][region].mean() for i, region in regions])
        points.append((fpr, pro))
    area = 0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 >= limit:
            break
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            x1 = limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def random_set(seed, num_values):
    rng = np.random.default_rng(seed)
    masks = rng.random((4, 12, 15)) < 0.15
    masks[0] = False
    masks[1] = False
    masks[1, 3, 4] = True
    maps = rng.integers(0, num_values, masks.shape) + 2 * masks
    return maps.astype(np.float32), masks


def rank_maps(maps, masks):
    weights, counts = zip(*map(region_weights, masks))
    return rank(maps, masks, np.stack(weights), sum(counts))


@pytest.mark.parametrize('num_values', [2, 10, 10**6])
@pytest.mark.parametrize('seed', range(4))
def test_against_scikit_learn(seed, num_values):
    maps, masks = random_set(seed, num_values)
    ranking = rank(maps, masks)
    truth, scores = masks.ravel(), maps.ravel()
    assert abs(auroc(ranking) - roc_auc_score(truth, scores)) <= 1e-12
    assert abs(
        average_precision(ranking) -
        average_precision_score(truth, scores)) <= 1e-12
    precision, recall, _ = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    best, threshold = best_f1(ranking)
    assert best == pytest.approx(f1.max(), abs=1e-12)
    found = scores >= threshold
    assert best == pytest.approx(
        2 * (found & truth).sum() / (found.sum() + truth.sum()), abs=1e-12)


@pytest.mark.parametrize('limit', [0.05, 0.3, 1.0])
@pytest.mark.parametrize('num_values', [2, 10, 10**6])
@pytest.mark.parametrize('seed', range(3))
def test_aupro_against_brute_force(seed, num_values, limit):
    maps, masks = random_set(seed, num_values)
    expected = brute_force_aupro(maps, masks, limit)
    assert abs(aupro(rank_maps(maps, masks), limit) - expected) <= 1e-9


def test_perfect_and_constant_maps():
    _, masks = random_set(0, 2)
    perfect = rank_maps(masks.astype(np.float32), masks)
    assert auroc(perfect) == average_precision(perfect) == 1
    assert best_f1(perfect) == (1, 1)
    assert aupro(perfect) == pytest.approx(1, abs=1e-12)
    constant = rank_maps(np.ones(masks.shape, np.float32), masks)
    assert auroc(constant) == 0.5
    assert average_precision(constant) == pytest.approx(masks.mean())
    assert aupro(constant) == pytest.approx(0.15, abs=1e-12)


@pytest.mark.parametrize('value', [False, True])
def test_one_class_is_undefined(value):
    scores = np.random.default_rng(0).random((2, 5, 5))
    masks = np.full(scores.shape, value)
    ranking = rank_maps(scores, masks)
    values = [auroc(ranking), average_precision(ranking), aupro(ranking)]
    assert all(map(math.isnan, [*values, *best_f1(ranking)]))


def test_aupro_without_regions_is_undefined():
    maps, masks = random_set(0, 10)
    assert math.isnan(aupro(rank(maps, masks)))


def test_only_the_order_of_scores_counts():
    maps, masks = random_set(1, 10**6)
    one, other = rank_maps(maps, masks), rank_maps(
        np.log1p(maps.astype(np.float64)), masks)
    for metric in (auroc, average_precision, aupro):
        assert metric(one) == metric(other)


def test_points_of_curves_are_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 40, 300).astype(float)
    labels = scores + rng.normal(0, 12, 300) > 25
    ranking = rank(scores, labels, labels / 7.0, labels.sum() / 7)
    found = curves(ranking)
    for place, threshold in enumerate(ranking.thresholds):
        above = scores >= threshold
        assert found.fpr[place] == pytest.approx(recall_score(~labels, above))
        assert found.recall[place] == pytest.approx(
            recall_score(labels, above))
        assert found.precision[place] == pytest.approx(
            precision_score(labels, above))
    assert found.overlap[-1] == 1


def test_curves_that_are_not_defined():
    found = curves(rank(np.arange(4.0), np.zeros(4, bool)))
    assert np.isnan(found.recall).all()
    assert np.isnan(found.overlap).all()
    assert found.fpr[-1] == 1
