import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmad.errors import InputError
from mmad.registry import TRANSFORMS
from mmad.structures import AnomalyDataSample

from .frame_tracking import current_frame
from .mask_regions import count_regions
from .region_codes import decode_regions

_META_KEYS = ('img_path', 'mask_path', 'defect_type', 'category', 'sample_idx',
              'ori_shape', 'img_shape', 'resized_shape', 'crop_offset',
              'rotation', 'mask_area', 'mask_regions', 'region_saturations',
              'frame_lost')


@TRANSFORMS.register_module()
class PackInputs(BaseTransform):
    """Pack an image and its annotation for the model.

    Required Keys:

    - img (np.ndarray): ``(H, W, 3)`` uint8.

    Optional Keys:

    - gt_label, gt_seg_map, and any metainfo of
      :class:`~mmad.structures.AnomalyDataSample`

    Added Keys (all other keys are removed):

    - inputs (Tensor): ``(3, H, W)`` uint8.
    - data_samples (AnomalyDataSample)

    If ``ori_shape`` is known, the sample has either ``resized_shape`` and
    ``crop_offset``, which are the place of the input in the original image,
    or ``frame_lost``, the reason why this place is not known: a transform of
    another package flipped the image, or changed its size by more than one
    resize. A transform of your own that moves pixels but keeps the size
    cannot be detected; it must set ``results['frame_lost']`` to a reason.

    Of a mask that LoadMask has read, ``mask_regions`` counts the connected
    regions: all in the file; those outside of the crop; those of which no
    pixel is left; and those reduced to a single pixel.

    If the mask has a file for each region, the sample has these regions as
    ``gt_regions``, and their ``region_saturations``.

    Raises:
        InputError: If there is no color image, or its mask was padded with
            values other than 0 and 1.
    """

    def transform(self, results: dict) -> dict:
        self._check(results)
        self._find_frame(results)
        self._follow_regions(results)
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        sample = AnomalyDataSample(metainfo={
            key: results[key]
            for key in _META_KEYS if key in results
        })
        if 'gt_label' in results:
            sample.gt_label = results['gt_label']
        if 'gt_seg_map' in results:
            sample.gt_mask = torch.from_numpy(
                np.ascontiguousarray(results['gt_seg_map']) > 0)
            if 'region_members' in results:
                sample.gt_regions = torch.from_numpy(
                    decode_regions(results['gt_seg_map'],
                                   results['region_members']))
        return dict(inputs=torch.from_numpy(image), data_samples=sample)

    @staticmethod
    def _check(results: dict) -> None:
        name = results.get('img_path')
        image = results.get('img')
        if not isinstance(image, np.ndarray) or image.ndim != 3:
            got = (f'an array {image.shape}' if isinstance(image, np.ndarray)
                   else f'a {type(image).__name__}')
            raise InputError(
                f'PackInputs got {got} for the image "{name}", but needs an '
                'array (H, W, 3); check the order of the steps, and load the '
                'image in color.')
        # LoadMask knows the values of its masks, but MMCV pads with others.
        mask = results.get('gt_seg_map')
        highest = len(results.get('region_members', (0, 1))) - 1
        if (mask is not None and 'mask_area' in results
                and (mask > highest).any()):
            raise InputError(
                f'a step of the pipeline has padded the mask of "{name}" with '
                f'{mask.max()}, which would count as a defect; use Letterbox '
                'in its place, or set its pad_val=dict(img=0, seg=0).')

    @staticmethod
    def _find_frame(results: dict) -> None:
        if results.get('ori_shape') is None:
            return
        frame = current_frame(results)
        if not isinstance(frame, str):
            results['resized_shape'], results['crop_offset'] = frame
            return
        results['frame_lost'] = frame
        shape = tuple(results['img'].shape[:2])
        if results.get('frame', (shape, ))[0] != shape:
            # These belong to an image that another step has changed.
            del results['resized_shape'], results['crop_offset']

    @staticmethod
    def _follow_regions(results: dict) -> None:
        if (not {'regions', 'gt_seg_map', 'resized_shape'} <= results.keys()
                or results.get('rotation')):
            return
        results['mask_regions'] = count_regions(results['regions'],
                                                results['gt_seg_map'],
                                                results['ori_shape'],
                                                results['resized_shape'],
                                                results['crop_offset'])
