import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmad.utils.image_file import MAX_PIXELS
from mmad.utils.mask_file import read_mask

_SHOWN = 3


class DefectCensus:
    """Counts the defective images that show no defect to the metrics.

    Either the mask file has no defective pixel, or resizing and cropping left
    none. Such images count as defective all the same.

    Args:
        view (str): Where the defect is looked for, in words. Defaults to 'the
            model input'.
    """

    def __init__(self, view: str = 'the model input') -> None:
        self.view = view
        self.masked = 0
        self.empty: list[str] = []
        self.removed: list[str] = []

    def add(self, path: str, fault: str | None) -> None:
        """Count a defective image that has a mask.

        Args:
            path (str): Its file.
            fault (str, optional): What :func:`mask_fault` says of its mask.
        """
        self.masked += 1
        if fault is not None:
            getattr(self, fault).append(path)

    def merge(self, other: 'DefectCensus') -> None:
        """Add what another process has counted."""
        self.masked += other.masked
        self.empty += other.empty
        self.removed += other.removed

    @property
    def conditions(self) -> dict[str, int]:
        """Numbers of images: ``empty_masks`` and ``defects_removed``."""
        return dict(
            empty_masks=len(self.empty), defects_removed=len(self.removed))

    def sentences(self) -> list[str]:
        """Describe them, in one sentence for each of the two faults."""
        texts = (
            (self.empty, 'have an empty mask, one without a defective pixel '
             '(check the mask files)'),
            (self.removed, 'have no defective pixel left at '
             f'{self.view}, after resizing and cropping (crop less)'),
        )
        return [
            f'{len(paths)} of {self.masked} defective images with a mask '
            f'{text}, and count as defective all the same: {_list(paths)}.'
            for paths, text in texts if paths
        ]


def mask_fault(sample: Mapping, mask: np.ndarray) -> str | None:
    """Find out why the mask of a defective image shows no defect.

    Args:
        sample (Mapping): ``mask_area``, the number of defective pixels of the
            mask file, if known, and ``mask_path``.
        mask (np.ndarray): What the metric compares with, of any shape, bool.

    Returns:
        str | None: ``'empty'`` if the mask file has none, ``'removed'`` if
        the pipeline left none, None if there is one.
    """
    if mask.any():
        return None
    area = sample.get('mask_area')
    if area is None:
        path = sample.get('mask_path')
        # A data set that is not made of files has what it gave only.
        if path is None or not Path(path).is_file():
            return 'empty'
        limit = max(MAX_PIXELS, math.prod(sample.get('ori_shape', ())))
        area = read_mask(path, limit).sum()
    return 'removed' if area else 'empty'


def _list(paths: list[str]) -> str:
    paths = sorted(paths)
    more = len(paths) - _SHOWN
    return ', '.join(
        paths[:_SHOWN]) + (f' and {more} more' if more > 0 else '')
