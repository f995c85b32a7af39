from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageOps

from mmad.errors import InputError
from mmad.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Load the ground-truth mask; a normal image gets an empty one.

    Under the key ``gt_seg_map`` the geometric transforms of mmcv treat it as
    they treat the image, by nearest neighbour.

    Required Keys:

    - img_path, ori_shape, gt_label
    - mask_path (str | None): ``None`` on a defective image means that the
      data set has no masks; nothing is added then.

    Added Keys:

    - gt_seg_map (np.ndarray): ``(H, W)`` uint8, 1 on the defect.

    Raises:
        InputError: The mask cannot be read or its size is not the image's.
    """

    def transform(self, results: dict) -> dict:
        if results['mask_path'] is None:
            if results['gt_label'] == 0:
                results['gt_seg_map'] = np.zeros(results['ori_shape'],
                                                 np.uint8)
            return results
        mask = read_mask(results['mask_path'])
        if mask.shape != tuple(results['ori_shape']):
            raise InputError(
                f'mask "{results["mask_path"]}" is '
                f'{mask.shape[1]}x{mask.shape[0]} but its image '
                f'"{results["img_path"]}" is {results["ori_shape"][1]}x'
                f'{results["ori_shape"][0]}; both must have the same size.')
        results['gt_seg_map'] = mask.astype(np.uint8)
        return results


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask file as ``(H, W)`` bool.

    In a file of the scale 0/255 values above 127 are defect; in one without
    such values (0/1, or numbered classes) all above 0.

    Raises:
        InputError: The file is missing, truncated or no image.
    """
    try:
        with Image.open(path) as image:
            values = np.asarray(
                ImageOps.exif_transpose(image).convert('L'))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f'mask "{path}" cannot be read ({type(error).__name__}: it is '
            'missing, truncated or not an image); replace it.') from error
    return values > (127 if values.max() > 127 else 0)
