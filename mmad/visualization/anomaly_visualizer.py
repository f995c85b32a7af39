from pathlib import Path

import cv2
import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer

from mmad.errors import InputError
from mmad.registry import VISUALIZERS
from mmad.structures import AnomalyDataSample
from mmad.structures.frame import scored_window
from mmad.utils import printable, write_atomically

_BANNER = 24
_CONTOUR = (80, 255, 80)
_UNSCORED = 128


@VISUALIZERS.register_module()
class AnomalyVisualizer(Visualizer):
    """Draw an image, its heat map and their overlay side by side.

    All three show the outline of the ground truth in green. A banner shows
    the defect type and the anomaly score. Pixels without a score are gray:
    the border of a letterbox, and the part of the image outside the crop.
    """

    def draw(self,
             image: np.ndarray,
             data_sample: AnomalyDataSample | None = None,
             value_range: tuple[float, float] | None = None,
             frame: str = 'input',
             draw_gt: bool = True,
             draw_pred: bool = True) -> np.ndarray:
        """Draw one image.

        Args:
            image (np.ndarray): Model input or original image, see ``frame``,
                of shape ``(H, W, 3)``, uint8 BGR.
            data_sample (AnomalyDataSample, optional): Sample with
                ``pred_map``, ``pred_score``, ``gt_mask`` and ``defect_type``,
                as far as known. Defaults to None.
            value_range (tuple[float, float], optional): Map values of the
                coldest and the hottest color. Use the same values for all
                images of a data set, so that normal images look cold.
                Defaults to None: minimum and maximum of this map.
            frame (str): ``'input'`` if the image is the model input,
                ``'original'`` if it is the original image; then the map is
                resized to it. Defaults to 'input'.
            draw_gt (bool): Draw the outline of the ground truth. Defaults to
                True.
            draw_pred (bool): Draw the heat map and the overlay. Defaults to
                True.

        Returns:
            np.ndarray: Drawing of shape ``(H + 24, 3 W, 3)``, or
            ``(H + 24, W, 3)`` without a map, uint8 BGR.

        Raises:
            InputError: If the image and its map have different sizes, or the
                place of the map in the original image is not known.
        """
        if data_sample is None:
            data_sample = AnomalyDataSample()
        panels = [image.copy()]
        if draw_pred and 'pred_map' in data_sample:
            scores = _scores(data_sample, frame)
            _check_size(image, scores.shape, 'anomaly map', frame)
            panels += _heat(image, scores, value_range)
        if draw_gt and 'gt_mask' in data_sample and data_sample.gt_mask.any():
            mask = _truth(image, data_sample, frame)
            _check_size(image, mask.shape, 'mask', frame)
            for panel in panels:
                draw_outline(panel, mask)
        row = np.concatenate(panels, 1)
        banner = np.full((_BANNER, row.shape[1], 3), 32, np.uint8)
        title = printable(str(data_sample.get('defect_type', '')))
        if 'pred_score' in data_sample:
            title += f'   score {float(data_sample.pred_score):.3f}'
        cv2.putText(banner, title.strip(), (6, 17), cv2.FONT_HERSHEY_SIMPLEX,
                    0.45, (255, 255, 255), 1, cv2.LINE_AA)
        return np.concatenate([banner, row], 0)

    def add_datasample(self,
                       name: str,
                       image: np.ndarray,
                       data_sample: AnomalyDataSample | None = None,
                       value_range: tuple[float, float] | None = None,
                       draw_gt: bool = True,
                       draw_pred: bool = True,
                       show: bool = False,
                       wait_time: float = 0,
                       out_file: str | Path | None = None,
                       step: int = 0,
                       frame: str = 'input') -> None:
        """Draw one image, and write it to a file or to the back ends.

        Except for ``value_range`` and ``frame``, the arguments have the same
        names as in the visualizers of other OpenMMLab packages.

        Args:
            name (str): Identifier for the back ends, and title of the window.
            image (np.ndarray): ``(H, W, 3)`` uint8 BGR.
            data_sample (AnomalyDataSample, optional): See :meth:`draw`.
            value_range (tuple[float, float], optional): See :meth:`draw`.
            draw_gt (bool): See :meth:`draw`. Defaults to True.
            draw_pred (bool): See :meth:`draw`. Defaults to True.
            show (bool): Also show the drawing in a window. Defaults to False.
            wait_time (float): How many seconds the window is shown; 0 shows
                it until a key is pressed. Defaults to 0.
            out_file (str | Path, optional): Path of the PNG file to write.
                Defaults to None: write to the back ends.
            step (int): Global step for the back ends. Defaults to 0.
            frame (str): See :meth:`draw`. Defaults to 'input'.

        Raises:
            InputError: If the file cannot be written, or as in :meth:`draw`.
        """
        drawn = self.draw(image, data_sample, value_range, frame, draw_gt,
                          draw_pred)
        if show:
            self.show(drawn[..., ::-1], win_name=name, wait_time=wait_time)
        if out_file is None:
            self._add_to_backends(name, drawn[..., ::-1], step)
            return
        # cv2.imwrite would return False for a full disk, without a reason.
        write_atomically(out_file, cv2.imencode('.png', drawn)[1].tobytes())

    @master_only
    def _add_to_backends(self, name: str, image: np.ndarray,
                         step: int) -> None:
        self.add_image(name, image, step)


def draw_outline(image: np.ndarray, mask: np.ndarray) -> None:
    """Draw the outline of a mask ``(H, W)`` into a BGR image, in place."""
    outline, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, outline, -1, _CONTOUR, 1)


def _scores(sample: AnomalyDataSample, frame: str) -> np.ndarray:
    """Return the anomaly map ``(H, W)``, with NaN where there is no score."""
    if frame == 'original':
        return sample.original_map().numpy()
    if frame != 'input':
        raise InputError(
            f"`frame` must be 'input' or 'original', got {frame!r}.")
    scores = sample.pred_map.detach().cpu().numpy()
    window = scored_window(sample, scores.shape)
    framed = np.full_like(scores, np.nan)
    framed[window] = scores[window]
    return framed


def _truth(image: np.ndarray, sample: AnomalyDataSample,
           frame: str) -> np.ndarray:
    """Return the mask ``(H, W)`` at the size of the image."""
    mask = sample.gt_mask.cpu()
    if frame == 'original' and mask.shape != image.shape[:2]:
        mask = AnomalyDataSample(
            metainfo=sample.metainfo, pred_map=mask).original_map() >= 0.5
    return mask.numpy()


def _check_size(image: np.ndarray, shape: tuple[int, int], name: str,
                frame: str) -> None:
    if image.shape[:2] != shape:
        raise InputError(
            f'the image to draw is {image.shape[1]}x{image.shape[0]} and its '
            f'{name} {shape[1]}x{shape[0]} at frame={frame!r}; give the '
            "model input with 'input', or the original image with "
            "'original'.")


def _heat(
        image: np.ndarray, scores: np.ndarray,
        value_range: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the heat map and the overlay, each ``(H, W, 3)``."""
    unscored = np.isnan(scores)
    if value_range is None:
        finite = scores[np.isfinite(scores)]
        value_range = (finite.min(), finite.max()) if finite.size else (0, 1)
    low, high = value_range
    heat = (scores - low) / max(high - low, 1e-12)
    heat = np.clip(np.where(unscored, 0, heat), 0, 1).astype(np.float32)
    colors = cv2.applyColorMap((heat * 255).astype(np.uint8),
                               cv2.COLORMAP_INFERNO)
    alpha = 0.8 * heat[..., None]
    overlay = (image * (1 - alpha) + colors * alpha).astype(np.uint8)
    colors[unscored] = _UNSCORED
    overlay[unscored] = overlay[unscored] // 2 + _UNSCORED // 2
    return colors, overlay
