"""Keep regions that overlap in one map, which every transform can move."""
import numpy as np

from mmad.errors import InputError

# 255 is left for padding, which is refused.
_MOST = 254


def encode_regions(regions: np.ndarray,
                   where: str) -> tuple[np.ndarray, np.ndarray]:
    """Number the combinations of regions that occur at the pixels.

    A map of these codes may be resized with nearest-neighbor interpolation,
    cropped and padded with 0.

    Args:
        regions (np.ndarray): ``(R, H, W)`` bool.
        where (str): Folder of the files, for messages.

    Returns:
        tuple[np.ndarray, np.ndarray]: Codes ``(H, W)`` uint8, 0 where there
        is no region; and the regions that each code stands for, ``(C, R)``
        bool.

    Raises:
        InputError: If there are more than 254 combinations.
    """
    union = regions.any(axis=0)
    numbers = np.zeros(np.count_nonzero(union), np.int64)
    members = np.zeros((1, 0), bool)
    for region in regions:
        halves = 2 * numbers + region[union]
        present = np.bincount(halves, minlength=2 * len(members)) > 0
        numbers = (np.cumsum(present) - 1)[halves]
        kept = np.flatnonzero(present)
        members = np.column_stack([members[kept // 2], kept % 2 == 1])
    if len(members) > _MOST:
        raise InputError(
            f'the regions in "{where}" overlap in {len(members)} '
            f'combinations, of which at most {_MOST} fit into a mask; join '
            'some of them.')
    codes = np.zeros(union.shape, np.uint8)
    codes[union] = numbers + 1
    return codes, np.vstack([np.zeros((1, len(regions)), bool), members])


def decode_regions(codes: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return the regions ``(R, H, W)`` bool of a map of codes.

    Args:
        codes (np.ndarray): ``(H, W)`` uint8.
        members (np.ndarray): ``(C, R)`` bool, of :func:`encode_regions`.
    """
    return np.ascontiguousarray(members[codes].transpose(2, 0, 1))
