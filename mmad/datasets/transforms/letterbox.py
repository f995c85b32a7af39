from collections.abc import Sequence

import cv2
import mmcv
from mmcv.transforms import BaseTransform

from mmad.registry import TRANSFORMS
from mmad.utils import as_size

from .frame_tracking import current_frame, note_frame


@TRANSFORMS.register_module()
class Letterbox(BaseTransform):
    """Resize an image to fit into a box, and fill the box with a border.

    The image keeps its aspect ratio and is placed in the center. It is
    resized with the bilinear filter of Pillow. The border repeats the pixels
    at the edge of the image and does not count as a defect. Borders on
    opposite sides are equally wide; to allow this, a side of the image may
    differ by one pixel from the exact aspect ratio.

    Required Keys:

    - img (np.ndarray): ``(H, W, 3)`` uint8.
    - gt_seg_map (np.ndarray, optional): ``(H, W)`` uint8.

    Modified Keys:

    - img, gt_seg_map (nearest neighbor), img_shape

    Added Keys:

    - resized_shape (tuple[int, int]): Height and width without the border.
    - crop_offset (tuple[int, int]): Minus the border on top and on the left.

    Args:
        scale (int | Sequence[int]): Side, or width and height, of the box in
            pixels.

    Raises:
        InputError: If the scale is not one or two positive integers.
    """

    def __init__(self, scale: int | Sequence[int]) -> None:
        self.scale = as_size('scale', scale)

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        box_width, box_height = self.scale
        # Compare the aspect ratios in integers, without rounding.
        if box_width * height <= box_height * width:
            size = (box_width, _fit(height * box_width / width, box_height))
        else:
            size = (_fit(width * box_height / height, box_width), box_height)
        left, top = (box_width - size[0]) // 2, (box_height - size[1]) // 2
        before = current_frame(results)
        for key, interpolation, border in (('img', 'bilinear',
                                            cv2.BORDER_REPLICATE),
                                           ('gt_seg_map', 'nearest',
                                            cv2.BORDER_CONSTANT)):
            if key in results:
                resized = mmcv.imresize(
                    results[key],
                    size,
                    interpolation=interpolation,
                    backend='pillow')
                results[key] = cv2.copyMakeBorder(resized, top, top, left,
                                                  left, border)
        results['img_shape'] = (box_height, box_width)
        if before != ((height, width), (0, 0)):
            results['frame_lost'] = before if isinstance(
                before, str) else 'it was resized after a crop'
        note_frame(results, size[::-1], (-top, -left))
        return results


def _fit(length: float, box: int) -> int:
    """Find the nearest size for which both borders are equally wide."""
    border = min(round((box - length) / 2), (box - 1) // 2)
    return box - 2 * border
