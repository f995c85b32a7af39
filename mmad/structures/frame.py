"""Relate the pixels of the model input to those of the original image."""
from collections.abc import Mapping

import numpy as np

from mmad.errors import InputError


def scored_window(info: Mapping, shape: tuple[int,
                                              int]) -> tuple[slice, slice]:
    """Find the rows and columns of the model input that show the image.

    These are all rows and columns, unless a letterbox added a border.

    Args:
        info (Mapping): Metainfo of an image: ``resized_shape`` and
            ``crop_offset``, as far as known.
        shape (tuple[int, int]): Height and width of the input, in pixels.

    Returns:
        tuple[slice, slice]: Rows and columns.
    """
    resized = info.get('resized_shape', shape)
    offset = info.get('crop_offset', (0, 0))
    rows, columns = (slice(max(0, -start), min(size, full - start))
                     for start, size, full in zip(offset, shape, resized))
    return rows, columns


def require_place(info: Mapping, otherwise: str) -> None:
    """Refuse an image whose place in the original is not known.

    Args:
        info (Mapping): Metainfo of an image: ``img_path``, ``frame_lost`` and
            ``rotation``, as far as known.
        otherwise (str): What else the user can do, for the message.

    Raises:
        InputError: If the pipeline rotated or otherwise moved the image.
    """
    reason = info.get('frame_lost') or ('it was rotated by the pipeline'
                                        if info.get('rotation') else None)
    if reason:
        raise InputError(
            f'the place of "{info.get("img_path")}" in the original image is '
            f'not known: {reason}; crop with CenterCrop and pad with '
            f'Letterbox of mmad, after one Resize, or {otherwise}.')


def map_to_original(
    anomaly_map: np.ndarray,
    ori_shape: tuple[int, int],
    resized_shape: tuple[int, int] | None = None,
    crop_offset: tuple[int, int] = (0, 0)
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Resize an anomaly map to the pixels of the original image.

    The model saw a crop of the resized image. The map is interpolated
    bilinearly, with half-pixel centers (``align_corners=False``), at exactly
    those original pixels whose center lies inside the crop. The other pixels
    have no score.

    Args:
        anomaly_map (np.ndarray): Map at the size of the model input, shape
            (h, w).
        ori_shape (tuple[int, int]): Height and width of the original image,
            in pixels.
        resized_shape (tuple[int, int], optional): Height and width of the
            image after resizing and before cropping, in pixels. Defaults to
            the shape of the map: no crop.
        crop_offset (tuple[int, int]): Top and left of the crop in the resized
            image, in pixels; negative if a letterbox added a border.
            Defaults to (0, 0).

    Returns:
        tuple[np.ndarray, tuple[slice, slice]]: The map at the original scale,
        shape (H', W'), float32; and the window of the original image that
        it covers.
    """
    if resized_shape is None:
        resized_shape = anomaly_map.shape
    rows, columns = (
        _axis(*sizes) for sizes in zip(anomaly_map.shape, ori_shape,
                                       resized_shape, crop_offset))
    values = anomaly_map.astype(np.float32, copy=False)
    values = _interpolate(values, *rows[1:])
    values = _interpolate(values.T, *columns[1:]).T
    return values, (rows[0], columns[0])


def _axis(size: int, ori_size: int, resized_size: int,
          offset: int) -> tuple[slice, np.ndarray, np.ndarray, np.ndarray]:
    # In units of 1 / (2 * ori_size) of a resized pixel, every center and edge
    # is an integer, so rounding does not affect which pixels are inside.
    centers = (2 * np.arange(ori_size) + 1) * resized_size
    unit = 2 * ori_size
    first, last = np.searchsorted(centers,
                                  [offset * unit, (offset + size) * unit])
    position = centers[first:last] / unit - offset - 0.5
    # Do not interpolate from the border of a letterbox.
    start, stop = max(0, -offset), min(size, resized_size - offset)
    position = np.clip(position, start, stop - 1)
    lower = position.astype(np.intp)
    upper = np.minimum(lower + 1, stop - 1)
    share = (position - lower).astype(np.float32)
    return slice(int(first), int(last)), lower, upper, share


def _interpolate(values: np.ndarray, lower: np.ndarray, upper: np.ndarray,
                 share: np.ndarray) -> np.ndarray:
    below = values[lower]
    return below + share[:, None] * (values[upper] - below)
