from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mmad.evaluation.example import Example

# Of the threshold on the scale of colors.
_PLACE = 0.4


@dataclass(frozen=True)
class HeatScale:
    """How anomaly maps become colors, the same for all images of a run.

    Attributes:
        low (float): Value of the coldest color.
        high (float): Value of the hottest color.
        threshold (float | None): What is above is outlined.
    """

    low: float
    high: float
    threshold: float | None

    @classmethod
    def of(cls, examples: Iterable[Example],
           threshold: float | None) -> 'HeatScale':
        """Choose a scale on which ordinary images are cold.

        It starts at the median of the mean values of the maps. Where there
        is a threshold, it is at 40 % of the scale; otherwise the scale ends
        at the 98th percentile of the highest values.
        """
        means, peaks = [], []
        for example in examples:
            scores = example.scores()
            if np.isfinite(scores).any():
                means.append(np.nanmean(scores))
                peaks.append(example.range[1])
        if not means:
            return cls(0.0, 1.0, threshold)
        low, high = float(np.median(means)), float(np.percentile(peaks, 98))
        if threshold is not None and threshold > low:
            high = low + (threshold - low) / _PLACE
        return cls(low, high, threshold)
