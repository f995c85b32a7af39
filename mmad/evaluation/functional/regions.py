from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def region_weights(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Compute weights of the pixels of a mask that add up to 1 per region.

    A region is a connected component with 8-connectivity, as in the
    evaluation of MVTec AD.

    Args:
        mask (np.ndarray): True for anomalous pixels, shape (H, W), bool.

    Returns:
        tuple[np.ndarray, int]: One over the number of pixels of the region
        that a pixel belongs to, zero outside, shape (H, W), float64; and the
        number of regions.
    """
    weights = np.zeros(mask.shape)
    weights[mask], num_regions = pixel_weights(mask)
    return weights, num_regions


def pixel_weights(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Compute the weights of :func:`region_weights` in the regions only.

    Args:
        mask (np.ndarray): True for anomalous pixels, shape (H, W), bool.

    Returns:
        tuple[np.ndarray, int]: Weights of the P anomalous pixels, in the
        order of ``scores[mask]``, shape (P,), float64; and the number of
        regions.
    """
    if not mask.any():
        return np.zeros(0), 0
    # The smallest window that contains all regions.
    window = tuple(
        slice(found[0], found[-1] + 1)
        for found in (np.flatnonzero(mask.any(axis)) for axis in (1, 0)))
    mask = mask[window]
    components, num_regions = ndimage.label(mask, np.ones((3, 3)))
    regions = components[mask]
    return 1 / np.bincount(regions)[regions], num_regions


def saturated_weights(scores: np.ndarray, regions: np.ndarray,
                      saturation_areas: Sequence[float]) -> np.ndarray:
    """Compute weights of pixels that add up to the saturated overlaps.

    The saturated overlap of a region at a threshold is ``min(n / s, 1)`` for
    ``n`` of its pixels above the threshold and its saturation area ``s``. So
    only the ``s`` pixels with the highest scores count, each with ``1 / s``,
    and the last one with what is left of ``s``. Regions may overlap; a pixel
    has the sum of its weights in all of them.

    With the weights of all images,
    :func:`~mmad.evaluation.functional.aupro` is the area under the curve of
    the saturated per-region overlap (sPRO), exactly and with ties.

    Source: Bergmann et al., "Beyond Dents and Scratches", IJCV 2022, the
    definition of the sPRO.

    Args:
        scores (np.ndarray): Scores of the pixels of one image, shape (P,).
        regions (np.ndarray): Which pixels belong to each region, shape
            (R, P), bool.
        saturation_areas (Sequence[float]): Saturation area of each region in
            pixels, above 0, not necessarily whole, length R.

    Returns:
        np.ndarray: Weights of the pixels, shape (P,), float64. They add up to
        R, unless a saturation area exceeds its region.
    """
    weights = np.zeros(scores.size)
    for region, area in zip(regions, saturation_areas, strict=True):
        pixels = np.flatnonzero(region)
        pixels = pixels[np.argsort(-scores[pixels], kind='stable')]
        overlap = np.minimum(np.arange(pixels.size + 1) / area, 1)
        weights[pixels] += np.diff(overlap)
    return weights
