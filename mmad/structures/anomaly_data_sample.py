import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

_SCALARS = dict(
    gt_label=torch.int64, pred_score=torch.float32, pred_label=torch.bool)
_MAPS = dict(
    gt_mask=torch.bool, pred_map=torch.float32, pred_mask=torch.bool)


class AnomalyDataSample(BaseDataElement):
    """What is known, and what is predicted, of one image.

    Metainfo, as far as known: ``img_path``, ``mask_path``, ``kind`` (of
    defect; ``'good'`` for normal), ``category``, ``sample_idx`` (position in
    the data set), and as ``(height, width)`` ``ori_shape``, ``img_shape``,
    ``resized_shape`` and ``crop_offset`` (place of the input in the resized
    picture), and ``rotation`` (of the resized picture before the crop, in
    degrees).

    Attributes:
        gt_label (Tensor): ``()`` int64, 1 for anomalous.
        gt_mask (Tensor): ``(H, W)`` bool at the model's input size.
        pred_score (Tensor): ``()`` float32, higher is more anomalous.
        pred_map (Tensor): ``(H, W)`` float32 at the model's input size.
        pred_label (Tensor): ``()`` bool, the verdict at a threshold.
        pred_mask (Tensor): ``(H, W)`` bool, the verdict per pixel.

    Examples:
        >>> sample = AnomalyDataSample(metainfo=dict(kind='scratch'))
        >>> sample.gt_label = 1
        >>> sample.pred_map = torch.rand(4, 4)
        >>> sample.gt_label
        tensor(1)
    """

    gt_label: Tensor
    gt_mask: Tensor
    pred_score: Tensor
    pred_map: Tensor
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
