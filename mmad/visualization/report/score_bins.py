import math
from typing import NamedTuple

import numpy as np

_BINS = 48


class Histogram(NamedTuple):
    """Counts of scores for drawing.

    Attributes:
        low (float): Left end of the axis.
        high (float): Right end of the axis.
        normal (list[int]): Normal images per bin.
        defective (list[int]): Defective images per bin.
        beyond (int): Images above ``high``, which count in the last bin.
        ticks (list[tuple[float, str]]): Place on the axis, from 0 to 1, and
            label of some values.
    """

    low: float
    high: float
    normal: list[int]
    defective: list[int]
    beyond: int
    ticks: list[tuple[float, str]]


def bin_scores(scores: np.ndarray, is_defective: np.ndarray,
               threshold: float) -> Histogram:
    """Count the scores of both kinds of images in bins.

    Far outliers share the last bin, so that the surroundings of the threshold
    stay wide enough to see.

    Args:
        scores (np.ndarray): ``(N,)``.
        is_defective (np.ndarray): ``(N,)`` bool.
        threshold (float): The threshold in use.
    """
    scores = scores.astype(np.float64)
    low, high = float(scores.min()), float(scores.max())
    normal = scores[~is_defective]
    if normal.size:
        width = max(normal.max(), threshold) - min(normal.min(), threshold)
        high = min(high, max(normal.max(), threshold) + 3 * float(width))
    low, high = min(low, threshold), max(high, threshold)
    if low == high:
        low, high = low - 0.5, high + 0.5
    clipped = scores.clip(low, high)
    edges = np.linspace(low, high, _BINS + 1)
    good, bad = (
        np.histogram(clipped[chosen], edges)[0].tolist()
        for chosen in (~is_defective, is_defective))
    return Histogram(low, high, good, bad, int((scores > high).sum()),
                     _ticks(low, high))


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    raw = (high - low) / 6
    unit = 10**math.floor(math.log10(raw))
    step = unit * next(n for n in (1, 2, 2.5, 5, 10) if n * unit >= raw)
    values = step * np.arange(
        math.ceil(low / step),
        math.floor(high / step) + 1)
    return [((float(value) - low) / (high - low), f'{value:.5g}')
            for value in values]
