from typing import NamedTuple

import numpy as np

from .ranking import Ranking


class Curves(NamedTuple):
    """Points of curves, one for each entry of a ranking.

    Each has shape (K,) and is NaN where it is not defined. What scores at
    least the threshold counts as anomalous.

    Attributes:
        fpr (np.ndarray): False positive rates, ascending.
        recall (np.ndarray): Shares of the positives, ascending.
        precision (np.ndarray): Shares of positives above the thresholds.
        overlap (np.ndarray): Per-region overlaps, ascending.
    """

    fpr: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    overlap: np.ndarray


def curves(ranking: Ranking) -> Curves:
    """Compute the points of the ROC, precision-recall and PRO curves.

    Args:
        ranking (Ranking): Ranked scores.

    Returns:
        Curves: The points, from the highest threshold to the lowest.
    """
    hits, alarms = ranking.hits, ranking.alarms
    with np.errstate(invalid='ignore', divide='ignore'):
        overlap = np.cumsum(ranking.overlap) / np.float64(ranking.num_regions)
        return Curves(alarms / ranking.num_negatives,
                      hits / ranking.num_positives, hits / (hits + alarms),
                      np.minimum(overlap, 1))


def auroc(ranking: Ranking) -> float:
    """Compute the area under the ROC curve, with mid-ranks for ties.

    The area is the share of pairs of a positive and a negative in which the
    positive has the higher score. A tie counts one half (Mann-Whitney).

    Args:
        ranking (Ranking): Ranked scores.

    Returns:
        float: Area in [0, 1]; NaN without positives or without negatives.
    """
    num_positives, num_negatives = ranking.num_positives, ranking.num_negatives
    if not num_positives or not num_negatives:
        return float('nan')
    pairs = 0.5 * ranking.negatives
    pairs -= ranking.alarms
    pairs += num_negatives
    pairs *= ranking.positives
    return float(pairs.sum() / num_positives / num_negatives)


def average_precision(ranking: Ranking) -> float:
    """Compute the average precision, without interpolation.

    It is the mean of the precision at each score, weighted by the increase in
    recall at that score.

    Args:
        ranking (Ranking): Ranked scores.

    Returns:
        float: Average precision in [0, 1]; NaN without positives or without
        negatives.
    """
    if not ranking.num_positives or not ranking.num_negatives:
        return float('nan')
    precision = ranking.hits / (ranking.hits + ranking.alarms)
    precision *= ranking.positives
    return float(precision.sum() / ranking.num_positives)


def best_f1(ranking: Ranking) -> tuple[float, float]:
    """Compute the highest F1 score over all thresholds.

    The threshold is chosen with the test labels, so it is for comparisons
    between methods, and not for use in production.

    Args:
        ranking (Ranking): Ranked scores.

    Returns:
        tuple[float, float]: The highest F1 in [0, 1], and the highest
        threshold that reaches it, where ``score >= threshold`` is anomalous.
        Both are NaN without positives or without negatives.
    """
    if not ranking.num_positives or not ranking.num_negatives:
        return float('nan'), float('nan')
    total = ranking.hits + ranking.alarms
    total += ranking.num_positives
    half = ranking.hits / total
    best = int(np.argmax(half))
    return float(2 * half[best]), float(ranking.thresholds[best])


def aupro(ranking: Ranking, fpr_limit: float = 0.3) -> float:
    """Compute the area under the per-region overlap curve up to a limit.

    The overlap is the share of a ground-truth region that is detected,
    averaged over all regions of the test set. The false positive rate is
    computed over all defect-free pixels of the test set. Every distinct score
    is a threshold. The curve starts at (0, 0) and is interpolated linearly at
    the limit. The area is divided by the limit, so it is 1 for perfect maps
    and ``fpr_limit / 2`` for constant maps.

    Source: Bergmann et al., "Uninformed Students", CVPR 2020, Section 4, and
    "The MVTec Anomaly Detection Dataset", IJCV 2021, Section 5.

    Args:
        ranking (Ranking): Ranked scores of pixels, with regions.
        fpr_limit (float): False positive rate in (0, 1] up to which the curve
            is integrated. Defaults to 0.3.

    Returns:
        float: Normalized area in [0, 1]; NaN without regions or without
        defect-free pixels.
    """
    if not ranking.num_regions or not ranking.num_negatives:
        return float('nan')
    fpr = np.zeros(len(ranking.alarms) + 1)
    np.divide(ranking.alarms, ranking.num_negatives, out=fpr[1:])
    pro = np.zeros(len(fpr))
    np.cumsum(ranking.overlap, out=pro[1:])
    pro /= ranking.num_regions
    np.minimum(pro, 1, out=pro)
    # The first point beyond the limit is moved to it.
    last = np.searchsorted(fpr, fpr_limit, side='right')
    pro[last:last + 1] = np.interp(fpr_limit, fpr, pro)
    fpr[last:last + 1] = fpr_limit
    fpr, pro = fpr[:last + 1], pro[:last + 1]
    areas = pro[1:] + pro[:-1]
    areas *= np.diff(fpr)
    return float(0.5 * areas.sum() / fpr_limit)
