from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mmad.errors import InputError

# Number of positives that are ranked together, few enough for the cache.
_RANGE = 2**13


class _Entries(NamedTuple):
    thresholds: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    overlap: np.ndarray
    num_regions: int


class Ranking(_Entries):
    """Ranked scores with the counts from which metrics are computed.

    The entries are sorted from the highest score to the lowest. An entry is
    one distinct score, or a run of adjacent scores that only negatives have.
    Inside such a run, neither the recall nor the overlap changes, so merging
    it does not change the metrics of
    :mod:`mmad.evaluation.functional.curves`. A ranking has at most
    ``2 * (distinct scores of positives) + 1`` entries.

    Attributes:
        thresholds (np.ndarray): Lowest score of each entry, shape (K,),
            strictly descending, of the dtype of the scores; float64 if that
            is an integer.
        positives (np.ndarray): Positives per entry, shape (K,), int64.
        negatives (np.ndarray): Negatives per entry, shape (K,), int64.
        overlap (np.ndarray): Share of a ground-truth region with the scores
            of the entry, summed over all regions, shape (K,), float64. The
            sum over all entries is ``num_regions``. Zeros if no regions are
            given.
        num_regions (int): Number of ground-truth regions.
        hits (np.ndarray): Positives of each entry and all before it, shape
            (K,), int64.
        alarms (np.ndarray): Negatives of each entry and all before it, shape
            (K,), int64.
        num_positives (int): Number of positives.
        num_negatives (int): Number of negatives.
    """

    @cached_property
    def hits(self) -> np.ndarray:
        return np.cumsum(self.positives)

    @cached_property
    def alarms(self) -> np.ndarray:
        return np.cumsum(self.negatives)

    @property
    def num_positives(self) -> int:
        return int(self.hits[-1]) if self.hits.size else 0

    @property
    def num_negatives(self) -> int:
        return int(self.alarms[-1]) if self.alarms.size else 0


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
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
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
            number of parts, each of shape (N_i,), ascending, floating-point
            without NaN.
        positives (np.ndarray): Scores of the positives, shape (P,), in any
            order, floating-point without NaN.
        region_weights (np.ndarray, optional): One over the size of the region
            that a positive belongs to, shape (P,).
        num_regions (int): Number of ground-truth regions. Defaults to 0.

    Returns:
        Ranking: The ranking.
    """
    if region_weights is None:
        region_weights = np.zeros(positives.size)
    # Ranges of scores are ranked one by one. Each ends at the score of a
    # positive, so that no entry is in two of them.
    order = np.argsort(positives)
    tops = np.unique(positives[order[_RANGE::_RANGE]])
    ends = np.searchsorted(positives, tops, side='right', sorter=order)
    ranges = zip(
        np.split(order, ends),
        *(np.split(part, np.searchsorted(part, tops, side='right'))
          for part in negatives),
        strict=True)

    size = 2 * positives.size + 1
    thresholds = np.empty(size, np.result_type(positives, *negatives))
    num_positives = np.empty(size, np.int64)
    num_negatives = np.empty(size, np.int64)
    overlap = np.empty(size)
    arrays = thresholds, num_positives, num_negatives, overlap
    first = size
    for chosen, *parts in ranges:
        entries = _rank_range(parts, positives[chosen], region_weights[chosen])
        last, first = first, first - len(entries[0])
        for array, values in zip(arrays, entries, strict=True):
            array[first:last] = values
    return Ranking(thresholds[first:], num_positives[first:],
                   num_negatives[first:], overlap[first:], int(num_regions))


def _rank_range(negatives: Sequence[np.ndarray], positives: np.ndarray,
                weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rank sorted positives, and return the arrays of the ranking."""
    is_start = np.ones(positives.size, dtype=bool)
    np.not_equal(positives[1:], positives[:-1], out=is_start[1:])
    starts = np.flatnonzero(is_start)
    distinct = positives[starts]
    num = distinct.size

    # In ascending order, the entries alternate between the negatives below a
    # distinct score of positives and that score itself. These are the numbers
    # of negatives up to the start of an entry.
    totals = np.zeros(2 * num + 2, dtype=np.int64)
    thresholds = np.full(
        2 * num + 1, np.inf, dtype=np.result_type(positives, *negatives))
    thresholds[1::2] = distinct
    lowest = thresholds[::2]
    for part in filter(len, negatives):
        below = np.searchsorted(part, distinct, side='left')
        upto = np.append(0, below)
        # One search is enough for scores without ties, usually most of them.
        tied = np.flatnonzero(part.take(below, mode='clip') == distinct)
        upto[tied + 1] = np.searchsorted(part, distinct[tied], side='right')
        totals[::2] += upto
        totals[1:-1:2] += below
        totals[-1] += part.size
        inside = np.searchsorted(upto, part.size)
        np.minimum(lowest[:inside], part[upto[:inside]], out=lowest[:inside])
    num_negatives = np.diff(totals)
    num_positives = np.zeros(2 * num + 1, dtype=np.int64)
    num_positives[1::2] = np.diff(starts, append=positives.size)
    overlap = np.zeros(2 * num + 1)
    if num:
        overlap[1::2] = np.add.reduceat(weights, starts, dtype=np.float64)

    is_kept = num_negatives > 0
    is_kept[1::2] = True
    kept = np.flatnonzero(is_kept)[::-1]
    return (thresholds[kept], num_positives[kept], num_negatives[kept],
            overlap[kept])


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
    overlap = np.cumsum(ranking.overlap)
    last = [
        np.searchsorted(total, shares * total[-1])
        for total, shares in ((ranking.hits, share), (overlap, share),
                              (ranking.alarms, share), (ranking.alarms,
                                                        share * fpr_limit))
    ]
    kept = np.unique(np.minimum(np.concatenate(last), size - 1))
    starts = np.append(0, kept[:-1] + 1)
    return Ranking(ranking.thresholds[kept],
                   np.add.reduceat(ranking.positives, starts),
                   np.add.reduceat(ranking.negatives, starts),
                   np.add.reduceat(ranking.overlap, starts),
                   ranking.num_regions)
