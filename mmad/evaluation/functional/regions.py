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
    components, num_regions = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(components.ravel(), minlength=num_regions + 1)
    weights = np.zeros(num_regions + 1)
    weights[1:] = 1 / sizes[1:]
    return weights[components], num_regions
