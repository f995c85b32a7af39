import numpy as np

from mmad.errors import InputError

from .ranking import Ranking

_SIGN = np.uint32(0x80000000)
_ALL = np.uint32(0xFFFFFFFF)
_MINUS_INFINITY = np.uint32(0x007FFFFF)


class ScoreHistogram:
    """Histogram of labeled scores, in bounded memory.

    A bin contains the float32 scores with the same highest ``bits`` bits, in
    a bit pattern that is ordered like the numbers. Therefore the range of the
    scores need not be known in advance. With 20 bits, which include 11 bits
    of the mantissa, the resolution is 0.05 % of a score. Only bins that are
    not empty take memory, 28 bytes each, and there are at most ``2 ** bits``.

    The metrics of :meth:`to_ranking` are exact for the binned scores. The
    ``*_error_bound`` methods return bounds for the difference from the
    metrics of the float32 scores. The bounds only depend on the counts and
    hold for any order of the scores inside the bins. With 32 bits, the
    metrics are exact.

    Histograms with the same ``bits`` can be added with ``+``.

    Args:
        bits (int): Number of bits of a score that are kept, from 1 to 32.
            Defaults to 20.
    """

    def __init__(self, bits: int = 20) -> None:
        if not 1 <= bits <= 32:
            raise InputError(
                'the number of bits of a score must be from 1 to 32, got '
                f'{bits}.')
        self.bits = bits
        self.num_regions = 0
        self._codes = np.zeros(0, dtype=np.uint32)
        self._positives = np.zeros(0, dtype=np.int64)
        self._negatives = np.zeros(0, dtype=np.int64)
        self._overlap = np.zeros(0)

    def update(self,
               scores: np.ndarray,
               labels: np.ndarray,
               region_weights: np.ndarray | None = None,
               num_regions: int = 0) -> None:
        """Add labeled scores.

        Args:
            scores (np.ndarray): Scores of any shape, used as float32; higher
                is more anomalous.
            labels (np.ndarray): True for positives, of the same shape, bool.
            region_weights (np.ndarray, optional): One over the size of the
                region that an element belongs to, of the same shape; only
                those of positives are read.
            num_regions (int): Number of regions added. Defaults to 0.

        Raises:
            InputError: If a score is NaN.
        """
        scores = np.ravel(scores).astype(np.float32, copy=False)
        labels = np.ravel(labels).astype(bool, copy=False)
        if np.isnan(scores).any():
            raise InputError(
                f'{np.isnan(scores).sum()} of {scores.size} scores are NaN '
                'and cannot be ranked; check the model and its inputs.')
        codes = self._encode(scores)
        negative, num_negative = np.unique(codes[~labels], return_counts=True)
        positive, inverse = np.unique(codes[labels], return_inverse=True)
        overlap = np.zeros(positive.size)
        if region_weights is not None:
            # Without positives, bincount returns integers even with weights.
            overlap = np.bincount(inverse,
                                  np.ravel(region_weights)[labels],
                                  positive.size).astype(np.float64)
        self._insert(negative, np.zeros_like(num_negative), num_negative,
                     np.zeros(negative.size))
        self._insert(positive, np.bincount(inverse, minlength=positive.size),
                     np.zeros(positive.size, dtype=np.int64), overlap)
        self.num_regions += int(num_regions)

    def __add__(self, other: 'ScoreHistogram') -> 'ScoreHistogram':
        """Add the scores of two histograms with the same number of bits."""
        if self.bits != other.bits:
            raise ValueError(f'Histograms of {self.bits} and {other.bits} '
                             'bits cannot be added.')
        total = ScoreHistogram(self.bits)
        for part in (self, other):
            total._insert(part._codes, part._positives, part._negatives,
                          part._overlap)
            total.num_regions += part.num_regions
        return total

    def to_ranking(self) -> Ranking:
        """Rank the binned scores.

        Returns:
            Ranking: One entry per bin that is not empty. Its threshold is the
            lowest float32 of the bin, so ``score >= threshold`` selects the
            same elements before and after binning.
        """
        return Ranking(
            self._decode(self._codes[::-1]), self._positives[::-1],
            self._negatives[::-1], self._overlap[::-1], self.num_regions)

    def auroc_error_bound(self) -> float:
        """Compute a bound for the error of the AUROC.

        Pairs in different bins are compared correctly. A pair inside a bin
        counts one half instead of a value in [0, 1].

        Returns:
            float: Largest possible ``|binned - exact|``; NaN where the AUROC
            is undefined.
        """
        pairs = float(self._positives.sum()) * float(self._negatives.sum())
        if not pairs:
            return float('nan')
        if self.bits == 32:
            return 0.0
        inside = self._positives * self._negatives.astype(np.float64)
        return float(0.5 * inside.sum() / pairs)

    def average_precision_error_bound(self) -> float:
        """Compute a bound for the error of the average precision.

        The precision at a positive is highest if all positives of its bin
        come before the negatives. It is never lower than if only this
        positive came after all negatives of the bin.

        Returns:
            float: Largest possible ``|binned - exact|``; NaN where the
            average precision is undefined.
        """
        ranking = self.to_ranking()
        if not ranking.positives.any() or not ranking.negatives.any():
            return float('nan')
        if self.bits == 32:
            return 0.0
        hits = np.cumsum(ranking.positives)
        alarms = np.cumsum(ranking.negatives)
        found = np.flatnonzero(ranking.positives)
        hits, alarms = hits[found], alarms[found]
        positives = ranking.positives[found]
        negatives = ranking.negatives[found]
        first_hit = hits - positives + 1
        binned = hits / (hits + alarms)
        highest = hits / (hits + alarms - negatives)
        lowest = first_hit / (first_hit + alarms)
        above = (positives * (highest - binned)).sum() / hits[-1]
        below = (positives * (binned - lowest)).sum() / hits[-1]
        return float(max(above, below))

    def best_f1_error_bound(self) -> float:
        """Compute a bound for the error of the highest F1 score.

        A threshold of the exact scores reaches the binned F1, so this is
        never too high. Inside a bin, F1 is highest if all positives come
        before the negatives.

        Returns:
            float: Largest possible ``exact - binned``; NaN where F1 is
            undefined.
        """
        ranking = self.to_ranking()
        if not ranking.positives.any() or not ranking.negatives.any():
            return float('nan')
        if self.bits == 32:
            return 0.0
        hits = np.cumsum(ranking.positives)
        alarms = np.cumsum(ranking.negatives)
        binned = 2 * hits / (hits + alarms + hits[-1])
        highest = 2 * hits / (hits + alarms - ranking.negatives + hits[-1])
        return float(highest.max() - binned.max())

    def aupro_error_bound(self, fpr_limit: float = 0.3) -> float:
        """Compute a bound for the error of the AUPRO.

        The binned and the exact curve have the same points at the edges of
        the bins. Between two edges, the exact curve rises inside the
        rectangle of both points, and the binned curve is its diagonal, so
        the areas differ by at most half of the rectangle. In the bin that
        contains the limit, they differ by at most the rectangle up to the
        limit minus the triangle below the diagonal.

        Args:
            fpr_limit (float): Limit of the false positive rate in (0, 1].
                Defaults to 0.3.

        Returns:
            float: Largest possible ``|binned - exact|``; NaN where the area
            is undefined.
        """
        num_negatives = int(self._negatives.sum())
        if not self.num_regions or not num_negatives:
            return float('nan')
        if self.bits == 32:
            return 0.0
        ranking = self.to_ranking()
        width = ranking.negatives / num_negatives
        left = (np.cumsum(ranking.negatives) -
                ranking.negatives) / num_negatives
        height = ranking.overlap / self.num_regions
        within = np.clip(fpr_limit - left, 0, width)
        share = np.divide(
            within, width, out=np.zeros_like(width), where=width > 0)
        return float((within * height * (1 - 0.5 * share)).sum() / fpr_limit)

    def _encode(self, scores: np.ndarray) -> np.ndarray:
        # Adding zero makes -0.0 the same number as 0.0 in its bits, too.
        pattern = (scores + np.float32(0)).view(np.uint32)
        ordered = pattern ^ np.where(pattern & _SIGN, _ALL, _SIGN)
        return ordered >> np.uint32(32 - self.bits)

    def _decode(self, codes: np.ndarray) -> np.ndarray:
        # Patterns below that of minus infinity are NaN.
        ordered = np.maximum(codes << np.uint32(32 - self.bits),
                             _MINUS_INFINITY)
        pattern = ordered ^ np.where(ordered & _SIGN, _SIGN, _ALL)
        return pattern.view(np.float32)

    def _insert(self, codes: np.ndarray, positives: np.ndarray,
                negatives: np.ndarray, overlap: np.ndarray) -> None:
        merged = np.union1d(self._codes, codes)
        old = np.searchsorted(merged, self._codes)
        new = np.searchsorted(merged, codes)
        for name, values in (('_positives', positives),
                             ('_negatives', negatives), ('_overlap', overlap)):
            held = getattr(self, name)
            total = np.zeros(merged.size, dtype=held.dtype)
            total[old] = held
            total[new] += values
            setattr(self, name, total)
        self._codes = merged
