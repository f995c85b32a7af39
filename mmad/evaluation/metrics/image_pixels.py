import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mmad.errors import InputError
from mmad.evaluation.functional import pixel_weights
from mmad.structures.frame import (
    map_to_original,
    require_place,
    scored_window,
)
from mmad.utils.image_file import MAX_PIXELS
from mmad.utils.mask_file import read_mask

from .defect_census import mask_fault


# Not a named tuple, since MMEngine converts gathered tuples to plain ones.
@dataclass(frozen=True)
class ImagePixels:
    """The scored pixels of one image, for pixel-level metrics.

    Attributes:
        path (str): Path of the image.
        defect_type (str | None): Defect type, None for a normal image.
        negatives (np.ndarray): Scores of the defect-free pixels, float32.
        positives (np.ndarray): Scores of the defective pixels, float32.
        weights (np.ndarray): Weight of each defective pixel in the mean
            overlap of the regions, float64.
        num_regions (int): Number of defective regions.
        shape (tuple[int, int]): Height and width of the map that is compared.
        has_mask (bool): Whether the pixels are used. Those of a defective
            image without a mask are not.
        is_cropped (bool): Whether the model did not see all pixels of the
            original image.
        fault (str | None): Why the mask of a defective image is empty, see
            :func:`~mmad.evaluation.metrics.defect_census.mask_fault`.
    """

    path: str
    defect_type: str | None
    negatives: np.ndarray
    positives: np.ndarray
    weights: np.ndarray
    num_regions: int
    shape: tuple[int, int]
    has_mask: bool
    is_cropped: bool
    fault: str | None


# Weights of the P defective pixels (P,), and the number of regions, by sample,
# scores and mask (H, W), and the window of the image that these show.
Weigh = Callable[[Mapping, np.ndarray, np.ndarray, tuple[slice, slice]],
                 tuple[np.ndarray, int]]


def weigh_components(sample: Mapping, scores: np.ndarray, mask: np.ndarray,
                     window: tuple[slice, slice]) -> tuple[np.ndarray, int]:
    """Weigh the pixels of each connected component of the mask the same."""
    return pixel_weights(mask)


def measure_pixels(sample: Mapping,
                   resolution: str,
                   anomalous_only: bool,
                   weigh: Weigh = weigh_components) -> ImagePixels:
    """Divide the pixels of an image into defective and defect-free ones.

    Args:
        sample (Mapping): A predicted sample, see
            :class:`~mmad.evaluation.PixelMetric`.
        resolution (str): ``'input'`` or ``'original'``.
        anomalous_only (bool): Leave out the pixels of a normal image.
        weigh (Weigh): Function that weighs the pixels. Defaults to
            :func:`weigh_components`.

    Returns:
        ImagePixels: The pixels.

    Raises:
        InputError: If the map has NaN or infinity where it is scored, the
            mask is broken or of another size, or the image was rotated and
            the resolution is the original one.
    """
    path = sample['img_path']
    defect_type = defect_type_of(sample)
    scores = sample['pred_map'].detach().float().cpu().numpy()
    window = scored_window(sample, scores.shape)
    # The border of a letterbox has no scores.
    if not np.isfinite(scores[window]).all():
        raise InputError(f'the anomaly map of {path} has NaN or infinity; '
                         'check the model and the image.')
    if resolution == 'input':
        mask = _input_mask(sample, scores.shape)
        scores, is_cropped = scores[window], False
    else:
        mask = _file_mask(sample)
        scores, window = _to_original(sample, scores)
        is_cropped = scores.shape != tuple(sample['ori_shape'])
    fault = None
    if mask is not None:
        mask = mask[window]
        if defect_type is not None:
            fault = mask_fault(sample, mask)
    if mask is None or (anomalous_only and defect_type is None):
        nothing = np.zeros(0, dtype=np.float32)
        return ImagePixels(path, defect_type, nothing, nothing, np.zeros(0), 0,
                           scores.shape, False, is_cropped, fault)
    weights, num_regions = weigh(sample, scores, mask, window)
    return ImagePixels(path, defect_type, scores[~mask], scores[mask], weights,
                       num_regions, scores.shape, True, is_cropped, fault)


def defect_type_of(sample: Mapping) -> str | None:
    """Return the name of the defect type, or None for a normal image."""
    if not sample['gt_label'].item():
        return None
    # A defective image must not have None, which is for normal images.
    defect_type = sample.get('defect_type')
    return 'defective' if defect_type is None else str(defect_type)


def _input_mask(sample: Mapping, shape: tuple[int, int]) -> np.ndarray | None:
    """Return the mask at the size of the model input, if there is one."""
    is_defective = bool(sample['gt_label'].item())
    if sample.get('gt_mask') is None:
        return None if is_defective else np.zeros(shape, dtype=bool)
    mask = sample['gt_mask'].cpu().numpy().astype(bool, copy=False)
    if mask.shape != shape:
        raise InputError(
            f'the mask of {sample["img_path"]} is {mask.shape} and its '
            f'anomaly map is {shape} pixels high and wide; both must have '
            'the size of the model input.')
    # The pipeline has created this mask, since there is no mask file.
    if is_defective and not mask.any() and sample.get('mask_path') is None:
        return None
    return mask


def _file_mask(sample: Mapping) -> np.ndarray | None:
    """Read the mask at the size of the original image, if there is one."""
    shape = tuple(sample['ori_shape'])
    if not sample['gt_label'].item():
        return np.zeros(shape, dtype=bool)
    path = sample['mask_path']
    if path is None:
        return None
    # An image of this size has been read, so a mask may have it too.
    mask = read_mask(path, max(MAX_PIXELS, math.prod(shape)))
    if mask.shape != shape:
        raise InputError(
            f'the mask {path} is {mask.shape} pixels high and wide, its '
            f'image {sample["img_path"]} {shape}; both must be equal.')
    return mask


def _to_original(sample: Mapping,
                 scores: np.ndarray) -> tuple[np.ndarray, tuple[slice, slice]]:
    require_place(sample, "evaluate with resolution='input'")
    resized_shape = tuple(sample.get('resized_shape', scores.shape))
    if resized_shape != scores.shape and 'crop_offset' not in sample:
        raise InputError(
            f'{sample["img_path"]} was resized to {resized_shape} and its '
            f'anomaly map is {scores.shape}, but crop_offset is not in '
            'the data sample; have the pipeline pack it, or evaluate '
            "with resolution='input'.")
    return map_to_original(scores, tuple(sample['ori_shape']), resized_shape,
                           tuple(sample.get('crop_offset', (0, 0))))
