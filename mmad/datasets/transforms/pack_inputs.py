import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmad.registry import TRANSFORMS
from mmad.structures import AnomalyDataSample

from .frame_tracking import current_frame

_META_KEYS = ('img_path', 'mask_path', 'kind', 'category', 'sample_idx',
              'ori_shape', 'img_shape', 'resized_shape', 'crop_offset',
              'rotation', 'mask_area', 'frame_lost')


@TRANSFORMS.register_module()
class PackInputs(BaseTransform):
    """Pack an image and what is known of it for the model.

    Required Keys:

    - img (np.ndarray): ``(H, W, 3)`` uint8.

    Optional Keys:

    - gt_label, gt_seg_map, and any metainfo of
      :class:`~mmad.structures.AnomalyDataSample`

    Added Keys, all others deleted:

    - inputs (Tensor): ``(3, H, W)`` uint8.
    - data_samples (AnomalyDataSample)

    Where ``ori_shape`` is known the sample has either ``resized_shape`` and
    ``crop_offset``, which say where the input lies in the original, or
    ``frame_lost``, which says why that is not known: another transform than
    those of mmad changed the size by more than one resize, or flipped the
    image. One that moves pixels and keeps the size cannot be noticed; it must
    set ``results['frame_lost']`` to its reason.
    """

    def transform(self, results: dict) -> dict:
        self._find_frame(results)
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        sample = AnomalyDataSample(metainfo={
            key: results[key]
            for key in _META_KEYS if key in results
        })
        if 'gt_label' in results:
            sample.gt_label = results['gt_label']
        if 'gt_seg_map' in results:
            sample.gt_mask = np.ascontiguousarray(results['gt_seg_map']) > 0
        return dict(inputs=torch.from_numpy(image), data_samples=sample)

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
        if results.get('frame', (shape,))[0] != shape:
            # Of an image that is no more.
            del results['resized_shape'], results['crop_offset']
