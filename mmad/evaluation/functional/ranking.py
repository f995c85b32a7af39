from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmad.errors import InputError


class Ranking(NamedTuple):
    """Ranked scores with the counts from which metrics are computed.

    The entries are sorted from the highest score to the lowest. An entry is
    one distinct score, or a run of adjacent scores that only negatives have.
    Inside such a run, neither the recall nor the overlap changes, so merging
    it does not change the metrics of
    :mod:`mmad.evaluation.functional.curves`. A ranking has at most
    ``2 * (distinct scores of positives) + 1`` entries.

    Attributes:
        thresholds (np.ndarray): Lowest score of each entry, shape (K,),
            strictly descending, of the dtype of the scores.
        positives (np.ndarray): Positives per entry, shape (K,), int64.
        negatives (np.ndarray): Negatives per entry, shape (K,), int64.
        overlap (np.ndarray): Share of a ground-truth region with the scores
            of the entry, summed over all regions, shape (K,), float64. The
            sum over all entries is ``num_regions``. Zeros if no regions are
            given.
        num_regions (int): Number of ground-truth regions.
    """

    thresholds: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    overlap: np.ndarray
    num_regions: int


def rank(scores: np.ndarray,
         labels: np.ndarray,
         region_weights: np.ndarray | None = None,
         num_regions: int = 0) -> Ranking:
    """Rank labeled scores exactly, ties included, with one sort.

    Args:
        scores (np.ndarray): Scores of any shape; higher is more anomalous.
        labels (np.ndarray): True for positives (anomalous), of the same
            shape as ``scores``, bool.
        region_weights (np.ndarray, optional): One over the size of the region
            that an element belongs to, of the same shape as ``scores``; only
            those of positives are read. See
            :func:`~mmad.evaluation.functional.region_weights`.
        num_regions (int): Number of ground-truth regions. Defaults to 0.

    Returns:
        Ranking: The ranking.

    Raises:
        InputError: If a score is NaN.
    """
    scores = np.ravel(scores)
    labels = np.ravel(labels).astype(bool, copy=False)
    if np.isnan(scores).any():
        raise InputError(
            f'{np.isnan(scores).sum()} of {scores.size} scores are NaN and '
            'cannot be ranked; check the model and its inputs.')
    if region_weights is not None:
        region_weights = np.ravel(region_weights)[labels]
    negatives = scores[~labels]
    negatives.sort()
    return rank_sorted([negatives], scores[labels], region_weights,
                       num_regions)


def rank_sorted(negatives: Sequence[np.ndarray],
                positives: np.ndarray,
                region_weights: np.ndarray | None = None,
                num_regions: int = 0) -> Ranking:
    """Rank positives against negatives that are already sorted.

    Sorted negatives, which are nearly all pixels of a test set, can be used
    for several rankings, such as one for each defect type against the same
    normal images.

    Args:
        negatives (Sequence[np.ndarray]): Scores of the negatives in any
            number of parts, each of shape (N_i,), ascending, without NaN.
        positives (np.ndarray): Scores of the positives, shape (P,), in any
            order, without NaN.
        region_weights (np.ndarray, optional): One over the size of the region
            that a positive belongs to, shape (P,).
        num_regions (int): Number of ground-truth regions. Defaults to 0.

    Returns:
        Ranking: The ranking.
    """
    order = np.argsort(positives)
    ascending = positives[order]
    is_start = np.ones(ascending.size, dtype=bool)
    np.not_equal(ascending[1:], ascending[:-1], out=is_start[1:])
    starts = np.flatnonzero(is_start)
    distinct = ascending[starts]
    num = distinct.size

    # In ascending order, the entries alternate between the negatives below a
    # distinct score of positives and that score itself.
    thresholds = np.full(
        2 * num + 1, np.inf, dtype=np.result_type(positives, *negatives))
    thresholds[1::2] = distinct
    num_positives = np.zeros(2 * num + 1, dtype=np.int64)
    num_positives[1::2] = np.diff(starts, append=ascending.size)
    num_negatives = np.zeros(2 * num + 1, dtype=np.int64)
    overlap = np.zeros(2 * num + 1)
    if region_weights is not None and num:
        overlap[1::2] = np.add.reduceat(
            region_weights[order], starts, dtype=np.float64)
    for part in negatives:
        edges = np.empty(2 * num + 2, dtype=np.int64)
        edges[0], edges[-1] = 0, part.size
        edges[1:-1:2] = np.searchsorted(part, distinct, side='left')
        edges[2:-1:2] = np.searchsorted(part, distinct, side='right')
        counts = np.diff(edges)
        num_negatives += counts
        gaps = 2 * np.flatnonzero(counts[::2])
        thresholds[gaps] = np.minimum(thresholds[gaps], part[edges[gaps]])

    kept = np.flatnonzero(num_positives + num_negatives)[::-1]
    return Ranking(thresholds[kept], num_positives[kept], num_negatives[kept],
                   overlap[kept], int(num_regions))


def thin(ranking: Ranking, fpr_limit: float, points: int = 400) -> Ranking:
    """Merge entries of a ranking, so that few are left for drawing curves.

    All curves of what is left are exact at its entries. From one entry to
    the next, the recall, the overlap and the false positive rate, and the
    latter as a share of the limit up to there, rise by at most
    ``1 / (points // 4 - 1)`` and what one entry of the ranking has.

    Args:
        ranking (Ranking): Ranked scores.
        fpr_limit (float): Where the per-region overlap curve ends, in (0, 1].
        points (int): Largest number of entries. Defaults to 400.

    Returns:
        Ranking: The ranking itself if it has no more entries.
    """
    size = len(ranking.thresholds)
    if size <= points:
        return ranking
    share = np.linspace(0, 1, points // 4)
    last = []
    for counts, shares in ((ranking.positives, share), (ranking.overlap,
                                                        share),
                           (ranking.negatives, share), (ranking.negatives,
                                                        share * fpr_limit)):
        total = np.cumsum(counts)
        last.append(np.searchsorted(total, shares * total[-1]))
    kept = np.unique(np.minimum(np.concatenate(last), size - 1))
    starts = np.append(0, kept[:-1] + 1)
    return Ranking(ranking.thresholds[kept],
                   np.add.reduceat(ranking.positives, starts),
                   np.add.reduceat(ranking.negatives, starts),
                   np.add.reduceat(ranking.overlap, starts),
                   ranking.num_regions)
