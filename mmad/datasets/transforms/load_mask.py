import logging
from collections.abc import Mapping

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from mmad.errors import InputError
from mmad.registry import TRANSFORMS
from mmad.structures import Saturation
from mmad.utils import check_number, printable
from mmad.utils.image_file import MAX_PIXELS
from mmad.utils.mask_file import read_mask
from mmad.utils.region_files import list_regions, read_regions

from .mask_regions import find_regions
from .region_codes import encode_regions


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Load the ground-truth mask of an image.

    A normal image gets an empty mask. Since the key of the mask is
    ``gt_seg_map``, the geometric transforms of MMCV transform it like the
    image, with nearest-neighbor interpolation.
    :func:`~mmad.utils.mask_file.read_mask` defines which pixels count as
    defective. An empty mask of a defective image causes a warning.

    With ``saturations``, the mask is a folder with a file for each defective
    region, and regions may overlap. Then the values of ``gt_seg_map`` stand
    for the regions that a pixel belongs to.

    Required Keys:

    - img_path, ori_shape, gt_label
    - mask_path (str | None): ``None`` on a defective image means that the
      data set has no masks; nothing is added then.
    - saturations (dict[int, Saturation], optional): How much of a region has
      to be found, by the value in its file.

    Added Keys:

    - gt_seg_map (np.ndarray): ``(H, W)`` uint8, 0 where there is no defect, 1
      or more on the defect.
    - mask_area (int): Number of its pixels that are not 0.
    - regions (tuple): Its connected regions, for PackInputs.
    - region_members (np.ndarray), region_saturations (list[Saturation]):
      With ``saturations``, the regions that each value stands for, and the
      saturation of each region, in the order of the names of the files.

    Args:
        max_pixels (int): Maximum number of pixels of a mask, checked before
            it is decoded. Defaults to 100 million.

    Raises:
        InputError: If the mask cannot be read, its size is not that of the
            image, or the value of a region is not in ``saturations``.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        check_number('max_pixels', max_pixels, low=1, integer=True)
        self.max_pixels = max_pixels
        self._named: set[str] = set()

    def transform(self, results: dict) -> dict:
        path = results['mask_path']
        if path is None:
            if results['gt_label'] == 0:
                results['gt_seg_map'] = np.zeros(results['ori_shape'],
                                                 np.uint8)
                results['mask_area'] = 0
            return results
        saturations = results.get('saturations')
        if saturations is None:
            mask = read_mask(path, self.max_pixels)
        else:
            planes, values = read_regions(path, self.max_pixels)
            mask = np.asarray(planes.any(axis=0))
        if mask.shape != tuple(results['ori_shape']):
            raise InputError(
                f'mask "{path}" is '
                f'{mask.shape[1]}x{mask.shape[0]} but its image '
                f'"{results["img_path"]}" is {results["ori_shape"][1]}x'
                f'{results["ori_shape"][0]}; both must have the same size.')
        if saturations is None:
            results['gt_seg_map'] = mask.astype(np.uint8)
        else:
            results['region_saturations'] = _look_up(saturations, values, path)
            results['gt_seg_map'], results['region_members'] = encode_regions(
                planes, path)
        results['mask_area'] = int(mask.sum())
        results['regions'] = find_regions(mask)
        if results['gt_label'] and not mask.any() and path not in self._named:
            self._named.add(path)
            line = (
                f'The mask "{path}" is empty, but its image '
                f'"{results["img_path"]}" is labeled as defective; all its '
                'pixels count as normal. Correct the mask or the label.')
            print_log(printable(line), 'current', logging.WARNING)
        return results


def _look_up(saturations: Mapping[int, Saturation], values: list[int],
             folder: str) -> list[Saturation]:
    for value, path in zip(values, list_regions(folder)):
        if value not in saturations:
            known = ', '.join(map(str, sorted(saturations)))
            raise InputError(
                f'mask "{path}" has the value {value}, which the table of '
                f'defects does not list (it has {known}); correct the mask '
                'or the table.')
    return [saturations[value] for value in values]
