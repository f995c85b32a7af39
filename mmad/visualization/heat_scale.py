"""Colors of anomaly maps."""
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

# Luminance rises with the heat, so that a gray print and all kinds of color
# vision show the order. Positions, then red, green and blue.
_COLORS = ((0.0, (90, 0, 60)), (0.25, (150, 0, 50)), (0.5, (255, 125, 10)),
           (0.75, (255, 200, 50)), (1.0, (255, 255, 190)))
# Share of the color: none in the cold quarter, and never all of it, so that
# what is below stays visible.
_SHARES = ((0.0, 0.0), (0.25, 0.0), (0.42, 0.12), (0.54, 0.5), (1.0, 0.75))
# Photographs are darker than what is hot over them: white is drawn as 120.
_DIMMED = (120 * (np.arange(256) / 255)**0.75).astype(np.uint8)
_UNSCORED = 128
_MIDDLE = 160


def _table(points) -> np.ndarray:
    """Interpolate ``(256, C)`` float64 between points."""
    places, values = zip(*points)
    columns = np.array(values, float).reshape(len(places), -1).T
    steps = np.linspace(0, 1, 256)
    return np.stack([np.interp(steps, places, each) for each in columns], 1)


_COLOR_TABLE = (_table(_COLORS)[:, ::-1] * _table(_SHARES)).astype(
    np.uint8)[:, None]
_PHOTO_TABLE = (255 * (1 - _table(_SHARES))).astype(np.uint8)


@dataclass(frozen=True)
class HeatScale:
    """From the values of anomaly maps to colors over a dimmed photograph.

    Attributes:
        low (float): Value of the coldest color.
        high (float): Value of the hottest one. Values up to a quarter of the
            way from ``low`` leave the photograph as it is, gray and dimmed.
        threshold (float, optional): What is above counts as anomalous.
    """

    low: float
    high: float
    threshold: float | None = None

    @classmethod
    def of_threshold(cls, threshold: float) -> 'HeatScale':
        """Make a scale from 0 to twice the threshold."""
        return cls(0.0, 2 * threshold, threshold)

    @classmethod
    def of_maps(cls,
                means: Sequence[float] | np.ndarray,
                peaks: Sequence[float] | np.ndarray,
                threshold: float | None = None) -> 'HeatScale':
        """Make the scale for all maps of a run.

        It is that of a positive threshold. Otherwise it goes from the median
        of the mean values to the 98th percentile of the maxima, so that
        ordinary images are cold.

        Args:
            means (Sequence[float] | np.ndarray): Mean value of each map.
            peaks (Sequence[float] | np.ndarray): Maximum of each map.
            threshold (float, optional): What is above counts as anomalous.
                Defaults to None.
        """
        # Where scores may be negative, so may be a threshold.
        if threshold is not None and threshold > 0:
            return cls.of_threshold(threshold)
        if not len(means):
            return cls(0.0, 1.0, threshold)
        return cls(
            float(np.median(means)), float(np.percentile(peaks, 98)),
            threshold)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Positions from 0 to 1 at the color bar, and their texts."""
        if self.threshold is not None and self == self.of_threshold(
                self.threshold):
            return [(0.0, '0'), (0.5, '1 = threshold'), (1.0, '2+')]
        ticks = [(0.0, f'{self.low:.3g}'), (1.0, f'{self.high:.3g}+')]
        if self.threshold is not None:
            place = float(self._place(np.array(self.threshold)))
            if 0.2 < place < 0.8:
                ticks.insert(1, (place, 'threshold'))
        return ticks

    def overlay(self, image: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Draw the heat over an image.

        Args:
            image (np.ndarray): ``(H, W, 3)`` uint8 BGR.
            scores (np.ndarray): ``(H, W)`` float32; NaN where there is no
                score, drawn as gray fog.

        Returns:
            np.ndarray: ``(H, W, 3)`` uint8 BGR.
        """
        unscored = np.isnan(scores)
        place = self._place(np.where(unscored, self.low, scores))
        index = (place * 255).astype(np.uint8)
        gray = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), _DIMMED)
        gray = cv2.multiply(gray, cv2.LUT(index, _PHOTO_TABLE), scale=1 / 255)
        colors = cv2.LUT(cv2.merge([index] * 3), _COLOR_TABLE)
        drawn = cv2.add(colors, cv2.merge([gray] * 3))
        drawn[unscored] = drawn[unscored] // 4 + 3 * (_UNSCORED // 4)
        return drawn

    def color_bar(self, width: int) -> np.ndarray:
        """Return the colors from cold to hot, ``(width, 3)`` uint8 BGR.

        They are as they look over middle gray.
        """
        values = np.linspace(self.low, self.high, width, dtype=np.float32)
        return self.overlay(
            np.full((1, width, 3), _MIDDLE, np.uint8), values[None])[0]

    def _place(self, values: np.ndarray) -> np.ndarray:
        width = max(self.high - self.low, 1e-12)
        return np.clip((values - self.low) / width, 0, 1)
