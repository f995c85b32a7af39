"""Bring images, masks and anomaly maps to the size that they are drawn at."""
import cv2
import numpy as np

from mmad.structures.frame import map_to_original, scored_window

# Smaller images are enlarged, and from the second factor on without
# interpolation, which would invent a picture.
_READABLE = 320
_PIXELATED = 8


def panel_shape(shape: tuple[int, ...], number: int,
                max_size: int) -> tuple[tuple[int, int], bool]:
    """Choose the size of the panels and their arrangement.

    Args:
        shape (tuple[int, ...]): Height and width of the image.
        number (int): Number of panels.
        max_size (int): Maximum width and height of all panels together.

    Returns:
        tuple[tuple[int, int], bool]: Height and width of a panel, and whether
        they are side by side rather than one below the other.
    """
    height, width = shape[:2]
    is_row = width <= 2 * height
    columns, rows = (number, 1) if is_row else (1, number)
    largest = min(max_size / (columns * width), max_size / (rows * height))
    scale: float = -(-_READABLE // max(height, width))
    if scale > largest:
        scale = max(int(largest), min(1, largest))
    return (max(1, round(scale * height)), max(1,
                                               round(scale * width))), is_row


def resize_image(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize an image ``(H, W, 3)`` uint8 for the eye."""
    factor = shape[0] / image.shape[0]
    if image.shape[:2] == shape:
        return image.copy()
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    if factor >= _PIXELATED:
        method = cv2.INTER_NEAREST
    return cv2.resize(image, shape[::-1], interpolation=method)


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a mask ``(H, W)`` bool; no region of it vanishes."""
    if mask.shape == shape:
        return mask
    values = mask.astype(np.float32)
    if mask.shape[0] > shape[0] or mask.shape[1] > shape[1]:
        return cv2.resize(
            values, shape[::-1], interpolation=cv2.INTER_AREA) > 0
    return cv2.resize(values, shape[::-1], interpolation=cv2.INTER_LINEAR) > .5


def resize_scores(scores: np.ndarray, info, shape: tuple[int, int],
                  frame: str) -> np.ndarray:
    """Resize an anomaly map to a panel.

    Where the panel has fewer pixels than the map, the hottest value counts,
    so that no region above a threshold vanishes.

    Args:
        scores (np.ndarray): ``(h, w)`` float32, at the model's input size.
        info (Mapping): Metainfo of the image.
        shape (tuple[int, int]): Height and width of the panel.
        frame (str): ``'input'`` or ``'original'``, what the panel shows.

    Returns:
        np.ndarray: ``(H, W)`` float32, NaN where there is no score.
    """
    size = scores.shape
    if frame == 'input':
        # The scored window of the input, as a crop of the whole one.
        rows, columns = scored_window(info, size)
        scores = scores[rows, columns]
        resized, offset = size, (rows.start, columns.start)
    else:
        resized = tuple(info.get('resized_shape', size))
        offset = tuple(info.get('crop_offset', (0, 0)))
    ratio = [-(-full // drawn) for full, drawn in zip(resized, shape)]
    if max(ratio) > 1 and scores.size:
        scores = np.where(np.isnan(scores), -np.inf, scores)
        scores = cv2.dilate(scores, np.ones(ratio, np.uint8))
        scores[np.isneginf(scores)] = np.nan
    drawn = np.full(shape, np.nan, np.float32)
    if scores.size:
        values, window = map_to_original(scores, shape, resized, offset)
        drawn[window] = values
    return drawn
