import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmad.errors import InputError

from .frame import map_to_original, require_place

_SCALARS = dict(
    gt_label=torch.int64,
    pred_score=torch.float32,
    p_value=torch.float32,
    pred_label=torch.bool)
_MAPS = dict(gt_mask=torch.bool, pred_map=torch.float32, pred_mask=torch.bool)


class AnomalyDataSample(BaseDataElement):
    """Annotation and prediction of one image.

    The metainfo has these entries, as far as they are known:

    - ``img_path``, ``mask_path``, ``category``
    - ``defect_type``: ``'good'`` for a normal image.
    - ``sample_idx``: Position in the data set.
    - ``ori_shape``, ``img_shape``, ``resized_shape``: Heights and widths.
    - ``crop_offset``: Top and left of the input in the resized image,
      negative if a letterbox added a border.
    - ``rotation``: Rotation of the resized image before the crop, in degrees.
    - ``mask_area``: Number of defective pixels in the mask file.
    - ``frame_lost``: Why the place of the input in the original image is not
      known, if it is not.
    - ``image_threshold``, ``pixel_threshold``: What is above counts as
      anomalous, where the model was calibrated.
    - ``false_alarm_rate``: That the thresholds were chosen for; None if they
      were chosen otherwise.

    Attributes:
        gt_label (Tensor): ``()`` int64, 1 for anomalous.
        gt_mask (Tensor): ``(H, W)`` bool at the model's input size.
        pred_score (Tensor): ``()`` float32, higher is more anomalous.
        pred_map (Tensor): ``(H, W)`` float32 at the model's input size.
        p_value (Tensor): ``()`` float32, share of normal images that look at
            least as odd.
        pred_label (Tensor): ``()`` bool, whether the image counts as
            anomalous at a threshold.
        pred_mask (Tensor): ``(H, W)`` bool, the same for each pixel.

    Examples:
        >>> sample = AnomalyDataSample(metainfo=dict(defect_type='scratch'))
        >>> sample.gt_label = 1
        >>> sample.pred_map = torch.rand(4, 4)
        >>> sample.gt_label
        tensor(1)
    """

    gt_label: Tensor
    gt_mask: Tensor
    pred_score: Tensor
    pred_map: Tensor
    p_value: Tensor
    pred_label: Tensor
    pred_mask: Tensor

    def __setattr__(self, name: str, value) -> None:
        if name in _SCALARS:
            value = torch.as_tensor(value, dtype=_SCALARS[name]).reshape(())
        elif name in _MAPS:
            value = torch.as_tensor(value, dtype=_MAPS[name])
            if value.ndim != 2:
                raise ValueError(f'`{name}` must have shape (H, W), got '
                                 f'{tuple(value.shape)}.')
        super().__setattr__(name, value)

    def original_map(self) -> Tensor:
        """Resize the anomaly map to the original image.

        Returns:
            Tensor: Map ``(H, W)`` float32 at ``ori_shape``, interpolated
            bilinearly. It is NaN outside the crop that the model saw, where
            there is no score.

        Raises:
            InputError: If the pipeline rotated or otherwise moved the image,
                or its original size is not known.
        """
        require_place(self, 'use `pred_map`')
        if self.get('ori_shape') is None:
            raise InputError(
                'the original size of the image is not known; let the '
                'pipeline pack `ori_shape`.')
        shape = tuple(self.pred_map.shape)
        values, window = map_to_original(
            self.pred_map.cpu().numpy(), tuple(self.ori_shape),
            tuple(self.get('resized_shape', shape)),
            tuple(self.get('crop_offset', (0, 0))))
        whole = torch.full(tuple(self.ori_shape), float('nan'))
        whole[window] = torch.from_numpy(values)
        return whole
