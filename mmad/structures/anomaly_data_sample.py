import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmad.errors import InputError

from .frame import map_to_original, require_place

_SCALARS = dict(
    gt_label=torch.int64, pred_score=torch.float32, pred_label=torch.bool)
_MAPS = dict(gt_mask=torch.bool, pred_map=torch.float32, pred_mask=torch.bool)


class AnomalyDataSample(BaseDataElement):
    """Annotation and prediction of one image.

    Metainfo, as far as known: ``img_path``, ``mask_path``, ``defect_type``
    (``'good'`` for a normal image), ``category``, ``sample_idx`` (position in
    the data set), and as ``(height, width)`` ``ori_shape``, ``img_shape``,
    ``resized_shape`` and ``crop_offset`` (place of the input in the resized
    image, negative where a letterbox added a border), ``rotation`` (of the
    resized image before the crop, in degrees), ``mask_area`` (number of
    defective pixels of the mask file), and ``frame_lost`` (why the place of
    the input in the original is not known, if it is not).

    Attributes:
        gt_label (Tensor): ``()`` int64, 1 for anomalous.
        gt_mask (Tensor): ``(H, W)`` bool at the model's input size.
        pred_score (Tensor): ``()`` float32, higher is more anomalous.
        pred_map (Tensor): ``(H, W)`` float32 at the model's input size.
        pred_label (Tensor): ``()`` bool, the verdict at a threshold.
        pred_mask (Tensor): ``(H, W)`` bool, the verdict per pixel.

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
        """Bring the anomaly map back to the original image.

        Returns:
            Tensor: ``(H, W)`` float32 at ``ori_shape``, interpolated
            bilinearly; NaN where the model did not see the image, so there is
            no score.

        Raises:
            InputError: The image was rotated or otherwise moved by the
                pipeline, or its original size is not known.
        """
        require_place(self, 'use `pred_map`')
        if self.get('ori_shape') is None:
            raise InputError(
                'the original size of the image is not known; the pipeline '
                'must pack `ori_shape`.')
        shape = tuple(self.pred_map.shape)
        values, window = map_to_original(
            self.pred_map.cpu().numpy(), tuple(self.ori_shape),
            tuple(self.get('resized_shape', shape)),
            tuple(self.get('crop_offset', (0, 0))))
        whole = torch.full(tuple(self.ori_shape), float('nan'))
        whole[window] = torch.from_numpy(values)
        return whole
