"""Follow the regions of a mask through a pipeline."""
import math

import numpy as np
from scipy import ndimage

# Numbered regions of the smallest rectangle around them, and its corner.
Regions = tuple[np.ndarray, tuple[int, int]]


def find_regions(mask: np.ndarray) -> Regions:
    """Number the connected regions of a mask, with 8-connectivity.

    Args:
        mask (np.ndarray): ``(H, W)`` bool.

    Returns:
        Regions: Numbers ``(h, w)`` from 1, 0 where there is no defect, of the
        smallest rectangle with all regions; and its top and left.
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros((0, 0), np.int32), (0, 0)
    top, left = int(rows[0]), int(columns[0])
    part = mask[top:rows[-1] + 1, left:columns[-1] + 1]
    return ndimage.label(part, np.ones((3, 3)))[0], (top, left)


def count_regions(regions: Regions, mask: np.ndarray, shape: tuple[int, int],
                  resized: tuple[int, int],
                  offset: tuple[int, int]) -> tuple[int, int, int, int]:
    """Count what a pipeline has left of the regions of a mask.

    Args:
        regions (Regions): Of the mask file.
        mask (np.ndarray): ``(H, W)``, the mask behind the pipeline.
        shape (tuple[int, int]): Height and width of the original image.
        resized (tuple[int, int]): Those after resizing, before the crop.
        offset (tuple[int, int]): Top and left of the crop.

    Returns:
        tuple[int, int, int, int]: Number of all regions; of those outside of
        the crop; of the others, those without a pixel in ``mask``; and those
        with a single one there, though there are more in the file.
    """
    labels, corner = regions
    number = int(labels.max(initial=0))
    window = tuple(
        slice(*(min(max(math.ceil(edge * old / new - 0.5) - first, 0), extent)
                for edge in (start, start + size)))
        for start, size, old, new, first, extent in zip(
            offset, mask.shape, shape, resized, corner, labels.shape))
    areas = np.bincount(labels[window].ravel(), minlength=number + 1)[1:]
    left = np.bincount(
        _sources(labels, corner, mask, shape, resized, offset),
        minlength=number + 1)[1:]
    visible = (areas > 0) | (left > 0)
    return (number, int((~visible).sum()), int(
        (visible & (left == 0)).sum()), int(((left == 1) & (areas > 1)).sum()))


def _sources(labels: np.ndarray, corner: tuple[int, int], mask: np.ndarray,
             shape: tuple[int, int], resized: tuple[int, int],
             offset: tuple[int, int]) -> np.ndarray:
    """The numbers of the regions that the pixels of a mask come from."""
    pixels = np.nonzero(mask)
    found = np.zeros(len(pixels[0]), labels.dtype)
    if not labels.size:
        return found
    # The pixel that nearest-neighbor interpolation takes, in Pillow (at the
    # center) and in OpenCV (at the corner).
    for place in (0.5, 0):
        inside = found == 0
        index = []
        for axis in (0, 1):
            source = (pixels[axis] + offset[axis] + place) * (
                shape[axis] / resized[axis])
            source = source.astype(int) - corner[axis]
            inside &= (source >= 0) & (source < labels.shape[axis])
            index.append(source)
        rows, columns = (source[inside] for source in index)
        found[inside] = labels[rows, columns]
    return found
