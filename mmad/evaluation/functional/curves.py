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
    hits = np.cumsum(ranking.positives)
    alarms = np.cumsum(ranking.negatives)
    with np.errstate(invalid='ignore', divide='ignore'):
        overlap = np.cumsum(ranking.overlap) / np.float64(ranking.num_regions)
        return Curves(alarms / ranking.negatives.sum(),
                      hits / ranking.positives.sum(), hits / (hits + alarms),
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
    num_positives = int(ranking.positives.sum())
    num_negatives = int(ranking.negatives.sum())
    if not num_positives or not num_negatives:
        return float('nan')
    below = num_negatives - np.cumsum(ranking.negatives)
    pairs = ranking.positives * (below + 0.5 * ranking.negatives)
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
    num_positives = int(ranking.positives.sum())
    if not num_positives or not ranking.negatives.any():
        return float('nan')
    hits = np.cumsum(ranking.positives)
    precision = hits / (hits + np.cumsum(ranking.negatives))
    return float((ranking.positives * precision).sum() / num_positives)


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
    num_positives = int(ranking.positives.sum())
    if not num_positives or not ranking.negatives.any():
        return float('nan'), float('nan')
    hits = np.cumsum(ranking.positives)
    f1 = 2 * hits / (hits + np.cumsum(ranking.negatives) + num_positives)
    best = int(np.argmax(f1))
    return float(f1[best]), float(ranking.thresholds[best])


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
    num_negatives = int(ranking.negatives.sum())
    if not ranking.num_regions or not num_negatives:
        return float('nan')
    fpr = np.append(0, np.cumsum(ranking.negatives) / num_negatives)
    pro = np.append(0, np.cumsum(ranking.overlap) / ranking.num_regions)
    pro = np.minimum(pro, 1)
    num_within = np.searchsorted(fpr, fpr_limit, side='right')
    pro = np.append(pro[:num_within], np.interp(fpr_limit, fpr, pro))
    fpr = np.append(fpr[:num_within], fpr_limit)
    area = 0.5 * (np.diff(fpr) * (pro[1:] + pro[:-1])).sum()
    return float(area / fpr_limit)
