from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from mmad.structures.frame import map_to_original, scored_window

_SIDE = 128
# Value 0 is left for pixels without a score.
_LEVELS = 254


@dataclass(frozen=True)
class Example:
    """The anomaly map of an image, small, for looking at.

    Attributes:
        position (int): Position of the image in the data set.
        mask_path (str | None): File of its mask.
        map (np.ndarray): ``(h, w)`` uint8: 0 where there is no score, and 1
            to 255 from the lowest to the highest value of the map. Empty if
            there is no map.
        range (tuple[float, float]): These values.
        is_original (bool): Whether the map covers the original image, and not
            only what the model saw of it.
    """

    position: int
    mask_path: str | None
    map: np.ndarray
    range: tuple[float, float]
    is_original: bool

    @classmethod
    def of(cls, sample: Mapping, position: int) -> 'Example':
        """Make it from a predicted sample.

        Args:
            sample (Mapping): A sample with ``pred_map``, if there is one, and
                as much of the metainfo as is known.
            position (int): Position of the image in the data set.
        """
        mask_path = sample.get('mask_path')
        mask_path = None if mask_path is None else str(mask_path)
        scores = sample.get('pred_map')
        if scores is None:
            return cls(position, mask_path, np.zeros((0, 0), np.uint8), (0, 0),
                       False)
        scores, is_original = _place(sample, scores.float().cpu().numpy())
        known = np.isfinite(scores)
        low, high = ((float(scores[known].min()),
                      float(scores[known].max())) if known.any() else
                     (0.0, 0.0))
        levels = (np.where(known, scores, low) - low) / ((high - low) or 1)
        small = np.where(known, 1 + np.round(levels * _LEVELS), 0)
        return cls(position, mask_path, small.astype(np.uint8), (low, high),
                   is_original)

    def scores(self) -> np.ndarray:
        """Return the map ``(h, w)`` float32, NaN where there is no score.

        A value is off by at most 1/508 of the range.
        """
        low, high = self.range
        levels = (self.map.astype(np.float32) - 1) / _LEVELS
        return np.where(self.map > 0, low + levels * (high - low),
                        np.nan).astype(np.float32)


def _place(sample: Mapping, scores: np.ndarray) -> tuple[np.ndarray, bool]:
    """Put a map into the frame of the original image, if that is known."""
    resized = sample.get('resized_shape')
    known = (
        sample.get('ori_shape') is not None and not sample.get('rotation')
        and not sample.get('frame_lost')
        and (resized is None or tuple(resized) == scores.shape
             or sample.get('crop_offset') is not None))
    if not known:
        window = scored_window(sample, scores.shape)
        scores = scores[window]
        size = _fit(scores.shape)[::-1]
        return cv2.resize(scores, size, interpolation=cv2.INTER_AREA), False
    shape = _fit(tuple(sample['ori_shape']))
    whole = np.full(shape, np.nan, np.float32)
    values, window = map_to_original(scores, shape,
                                     tuple(resized or scores.shape),
                                     tuple(sample.get('crop_offset', (0, 0))))
    whole[window] = values
    return whole, True


def _fit(shape: tuple[int, int]) -> tuple[int, int]:
    scale = min(1, _SIDE / max(shape))
    height, width = (max(1, round(scale * side)) for side in shape)
    return height, width
