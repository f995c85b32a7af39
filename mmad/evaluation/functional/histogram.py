import numpy as np

from mmad.errors import InputError

from .ranking import Ranking

_SIGN = np.uint32(0x80000000)
_ALL = np.uint32(0xFFFFFFFF)
_MINUS_INFINITY = np.uint32(0x007FFFFF)
# Number of scores that are sorted into bins together.
_BUFFER = 2**20
_HALF = 2.0**30


class ScoreHistogram:
    """Histogram of labeled scores, in bounded memory.

    A bin contains the float32 scores with the same highest ``bits`` bits, in
    a bit pattern that is ordered like the numbers. Therefore the range of the
    scores need not be known in advance. With 20 bits, which include 11 bits
    of the mantissa, the resolution is 0.05 % of a score. Only bins that are
    not empty take memory, 36 bytes each, and there are at most ``2 ** bits``.
    Scores wait in a buffer of 4 MB, or as many as there are bins, until they
    are sorted into bins together.

    All sums are of integers, so the histogram is the same for any order of
    the scores, and for any division into histograms that are added. For
    that, region weights are rounded to multiples of ``2 ** -60``.

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
        # Positives, negatives, and the two halves of the overlap.
        self._counts = np.zeros((0, 4), dtype=np.int64)
        self._waiting: list[tuple[np.ndarray, np.ndarray | None]] = []
        self._num_waiting = 0

    def update(self,
               negatives: np.ndarray,
               positives: np.ndarray,
               region_weights: np.ndarray | None = None,
               num_regions: int = 0) -> None:
        """Add scores of negatives and of positives.

        Args:
            negatives (np.ndarray): Scores of negatives (normal), of any
                shape, used as float32; higher is more anomalous.
            positives (np.ndarray): Scores of positives (anomalous), of any
                shape, used as float32.
            region_weights (np.ndarray, optional): One over the size of the
                region that a positive belongs to, of the shape of
                ``positives``.
            num_regions (int): Number of regions added. Defaults to 0.

        Raises:
            InputError: If a score is NaN.
        """
        codes = [self._encode(negatives), self._encode(positives)]
        weights = np.zeros(
            codes[1].size) if region_weights is None else np.array(
                region_weights, dtype=np.float64).ravel()
        self._waiting += [(codes[0], None), (codes[1], weights)]
        self._num_waiting += codes[0].size + codes[1].size
        self.num_regions += int(num_regions)
        if self._num_waiting >= max(_BUFFER, self._codes.size):
            self._insert_waiting()

    def __add__(self, other: 'ScoreHistogram') -> 'ScoreHistogram':
        """Add the scores of two histograms with the same number of bits."""
        if self.bits != other.bits:
            raise ValueError(f'Histograms of {self.bits} and {other.bits} '
                             'bits cannot be added.')
        total = ScoreHistogram(self.bits)
        for part in (self, other):
            part._insert_waiting()
            total._insert(part._codes, part._counts)
            total.num_regions += part.num_regions
        return total

    def __getstate__(self) -> dict:
        self._insert_waiting()
        return self.__dict__

    def to_ranking(self) -> Ranking:
        """Rank the binned scores.

        Returns:
            Ranking: One entry per bin that is not empty. Its threshold is the
            lowest float32 of the bin, so ``score >= threshold`` selects the
            same elements before and after binning.
        """
        self._insert_waiting()
        positives, negatives, high, low = self._counts[::-1].T
        overlap = (high + low / _HALF) / _HALF
        return Ranking(
            self._decode(self._codes[::-1]), positives, negatives, overlap,
            self.num_regions)

    def auroc_error_bound(self) -> float:
        """Compute a bound for the error of the AUROC.

        Pairs in different bins are compared correctly. A pair inside a bin
        counts one half instead of a value in [0, 1].

        Returns:
            float: Largest possible ``|binned - exact|``; NaN where the AUROC
            is undefined.
        """
        ranking = self.to_ranking()
        pairs = float(ranking.positives.sum()) * float(ranking.negatives.sum())
        if not pairs:
            return float('nan')
        if self.bits == 32:
            return 0.0
        inside = ranking.positives * ranking.negatives.astype(np.float64)
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
        ranking = self.to_ranking()
        num_negatives = int(ranking.negatives.sum())
        if not self.num_regions or not num_negatives:
            return float('nan')
        if self.bits == 32:
            return 0.0
        width = ranking.negatives / num_negatives
        left = (np.cumsum(ranking.negatives) -
                ranking.negatives) / num_negatives
        height = ranking.overlap / self.num_regions
        within = np.clip(fpr_limit - left, 0, width)
        share = np.divide(
            within, width, out=np.zeros_like(width), where=width > 0)
        return float((within * height * (1 - 0.5 * share)).sum() / fpr_limit)

    def _encode(self, scores: np.ndarray) -> np.ndarray:
        scores = np.ravel(scores).astype(np.float32, copy=False)
        num_nan = int(np.isnan(scores).sum())
        if num_nan:
            raise InputError(
                f'{num_nan} of {scores.size} scores are NaN and cannot be '
                'ranked; check the model and its inputs.')
        # Adding zero makes -0.0 the same number as 0.0 in its bits, too.
        pattern = (scores + np.float32(0)).view(np.uint32)
        # The shift of signed integers fills up with the sign.
        flipped = (pattern.view(np.int32) >> 31).view(np.uint32) | _SIGN
        flipped ^= pattern
        flipped >>= np.uint32(32 - self.bits)
        return flipped

    def _decode(self, codes: np.ndarray) -> np.ndarray:
        # Patterns below that of minus infinity are NaN.
        ordered = np.maximum(codes << np.uint32(32 - self.bits),
                             _MINUS_INFINITY)
        pattern = ordered ^ np.where(ordered & _SIGN, _SIGN, _ALL)
        return pattern.view(np.float32)

    def _insert_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._num_waiting = 0
        if not waiting:
            return
        negative = np.sort(
            np.concatenate([codes for codes, w in waiting if w is None]))
        starts = _starts(negative)
        counts = np.zeros((starts.size, 4), dtype=np.int64)
        counts[:, 1] = np.diff(starts, append=negative.size)
        self._insert(negative[starts], counts)

        parts = [part for part in waiting if part[1] is not None]
        positive, weights = (np.concatenate(part) for part in zip(*parts))
        high, low = np.divmod(weights * _HALF, 1)
        counts = np.zeros((positive.size, 4), dtype=np.int64)
        counts[:, 0] = 1
        counts[:, 2] = high
        counts[:, 3] = np.rint(low * _HALF)
        self._insert(positive, counts)

    def _insert(self, codes: np.ndarray, counts: np.ndarray) -> None:
        codes = np.concatenate([self._codes, codes])
        # Of what is sorted already, a stable sort makes use.
        order = np.argsort(codes, kind='stable')
        codes = codes[order]
        starts = _starts(codes)
        if codes.size:
            counts = np.concatenate([self._counts, counts])[order]
            self._counts = np.add.reduceat(counts, starts)
            self._codes = codes[starts]


def _starts(ascending: np.ndarray) -> np.ndarray:
    """Return where each distinct value begins."""
    is_start = np.ones(ascending.size, dtype=bool)
    np.not_equal(ascending[1:], ascending[:-1], out=is_start[1:])
    return np.flatnonzero(is_start)
