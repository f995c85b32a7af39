import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmad.utils.image_file import MAX_PIXELS
from mmad.utils.mask_file import read_mask

from .named_images import NamedImages


class DefectCensus:
    """Count of the defective images whose masks show no defect.

    Either the mask file has no defective pixel, or none is left after
    resizing and cropping. Such images still count as defective.

    Args:
        view (str): Description of the pixels that are compared, for messages.
            Defaults to 'the model input'.
    """

    def __init__(self, view: str = 'the model input') -> None:
        self.view = view
        self.masked = 0
        self.empty = NamedImages()
        self.removed = NamedImages()

    def add(self, path: str, fault: str | None) -> None:
        """Count a defective image that has a mask.

        Args:
            path (str): Path of the image.
            fault (str, optional): Result of :func:`mask_fault` for its mask.
        """
        self.masked += 1
        if fault is not None:
            getattr(self, fault).add(path)

    def merge(self, other: 'DefectCensus') -> None:
        """Add the counts of another process."""
        self.masked += other.masked
        self.empty.merge(other.empty)
        self.removed.merge(other.removed)

    @property
    def conditions(self) -> dict[str, int]:
        """Numbers of images: ``empty_masks`` and ``defects_removed``."""
        return dict(
            empty_masks=self.empty.number, defects_removed=self.removed.number)

    def sentences(self) -> list[str]:
        """Describe the images, in one sentence for each kind of fault."""
        texts = (
            (self.empty, 'have an empty mask, one without a defective pixel '
             '(check the mask files)'),
            (self.removed, 'have no defective pixel left at '
             f'{self.view}, after resizing and cropping (crop less, or reduce '
             'the images less)'),
        )
        return [
            f'{images.number} of {self.masked} defective images with a mask '
            f'{text}, but still count as defective: {images}.'
            for images, text in texts if images.number
        ]


def mask_fault(sample: Mapping, mask: np.ndarray) -> str | None:
    """Return why the mask of a defective image shows no defect.

    Args:
        sample (Mapping): Sample with ``mask_path`` and, if known,
            ``mask_area``, the number of defective pixels of the mask file.
        mask (np.ndarray): Mask that the metric uses, of any shape, bool.

    Returns:
        str | None: ``'empty'`` if the mask file has no defective pixel,
        ``'removed'`` if the pipeline has removed all of them, None if there
        is a defective pixel.
    """
    if mask.any():
        return None
    area = sample.get('mask_area')
    if area is None:
        path = sample.get('mask_path')
        # The data set has no mask files, so there is nothing else to check.
        if path is None or not Path(path).exists():
            return 'empty'
        limit = max(MAX_PIXELS, math.prod(sample.get('ori_shape', ())))
        area = read_mask(path, limit).sum()
    return 'removed' if area else 'empty'
