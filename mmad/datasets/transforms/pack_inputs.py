import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmad.registry import TRANSFORMS
from mmad.structures import AnomalyDataSample

_META_KEYS = ('img_path', 'mask_path', 'kind', 'category', 'sample_idx',
              'ori_shape', 'img_shape', 'resized_shape', 'crop_offset',
              'rotation', 'mask_area')


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
    """

    def transform(self, results: dict) -> dict:
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
