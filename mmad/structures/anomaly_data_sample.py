import cv2
import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmad.errors import InputError

from .frame import map_to_original, require_place
from .region import Region

_SCALARS = dict(
    gt_label=torch.int64,
    pred_score=torch.float32,
    p_value=torch.float32,
    pred_label=torch.bool)
_MAPS = dict(
    gt_mask=(torch.bool, '(H, W)'),
    gt_regions=(torch.bool, '(R, H, W)'),
    pred_map=(torch.float32, '(H, W)'),
    pred_mask=(torch.bool, '(H, W)'))


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
    - ``region_saturations``: A :class:`~mmad.structures.Saturation` for each
      of ``gt_regions``.
    - ``frame_lost``: Why the place of the input in the original image is not
      known, if it is not.
    - ``image_threshold``, ``pixel_threshold``: What is above counts as
      anomalous, where the model was calibrated.
    - ``false_alarm_rate``: That the thresholds were chosen for; None if they
      were chosen otherwise.
    - ``frame_index``: Position in a video or the stream of a camera.
    - ``error``: Why the image could not be scored; there is no prediction
      then.

    Attributes:
        gt_label (Tensor): ``()`` int64, 1 for anomalous.
        gt_mask (Tensor): ``(H, W)`` bool at the model's input size.
        gt_regions (Tensor): ``(R, H, W)`` bool, the regions of ``gt_mask``,
            which may overlap. Only where the data set has a mask for each.
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
    gt_regions: Tensor
    pred_score: Tensor
    pred_map: Tensor
    p_value: Tensor
    pred_label: Tensor
    pred_mask: Tensor

    def __setattr__(self, name: str, value) -> None:
        if name in _SCALARS:
            value = torch.as_tensor(value, dtype=_SCALARS[name]).reshape(())
        elif name in _MAPS:
            dtype, shape = _MAPS[name]
            value = torch.as_tensor(value, dtype=dtype)
            if value.ndim != len(shape.split(',')):
                raise ValueError(f'`{name}` must have shape {shape}, got '
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

    def find_regions(self, threshold: float | None = None) -> list[Region]:
        """Find the regions of the original image that are defective.

        They are the connected components, with 8-connectivity, of the pixels
        at which :meth:`original_map` is above the threshold.

        Args:
            threshold (float, optional): Threshold for the anomaly map.
                Defaults to None: ``pixel_threshold``.

        Returns:
            list[Region]: The regions, that of the highest value first.

        Raises:
            InputError: If there is no threshold, or as in
                :meth:`original_map`.
        """
        if threshold is None:
            threshold = self.get('pixel_threshold')
        if threshold is None:
            raise InputError(
                'there is no threshold to tell defective pixels by; fit with '
                'the CalibrationHook (`default_hooks.calibration`), or give '
                '`threshold`.')
        require_place(self, 'use `pred_mask`')
        # Interpolation exceeds no value, so most normal images end here.
        if not (self.pred_map > threshold).any():
            return []
        scores = self.original_map().numpy()
        _, labels, boxes, _ = cv2.connectedComponentsWithStats(
            (scores > threshold).astype(np.uint8), connectivity=8)
        regions = []
        for number, (x, y, width, height, area) in enumerate(boxes.tolist()):
            if number:  # 0 is the background
                box = np.s_[y:y + height, x:x + width]
                peak = scores[box][labels[box] == number].max()
                regions.append(Region(x, y, width, height, area, float(peak)))
        return sorted(regions, key=lambda region: -region.score)
