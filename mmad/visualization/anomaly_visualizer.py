from pathlib import Path

import cv2
import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer

from mmad.errors import InputError
from mmad.registry import VISUALIZERS
from mmad.structures import AnomalyDataSample
from mmad.structures.frame import require_place
from mmad.utils import check_choice, check_number, write_atomically

from .heat_scale import HeatScale
from .outline import draw_outline
from .page import Page
from .panels import panel_shape, resize_image, resize_mask, resize_scores

# What photographs have of the brightness of the ground truth's panel.
_FADED = 0.35


@VISUALIZERS.register_module()
class AnomalyVisualizer(Visualizer):
    """Draw an image, its anomaly map and the ground truth beside each other.

    The first panel is the image alone. The second one shows the anomaly map
    over the gray and dimmed image: colors are the brighter the hotter, and a
    white line with black edges goes around what is above the pixel threshold.
    The third one, where there is a ground truth, shows it black on the faded
    image. Above stand the verdict in words, the score and the file, below the
    scale of the colors. All of it can be read without colors.

    With a threshold, the colors are those of the ratio of map and threshold,
    so they mean the same in all images of a model: below half of the threshold
    there is no color, and from twice the threshold on it is the hottest.

    Small images are enlarged, large ones are shrunk, wide ones have their
    panels one below the other.

    Args:
        name (str): Name of the instance. Defaults to 'visualizer'.
        image (np.ndarray, optional): Of MMEngine, for its own drawing
            functions. Defaults to None.
        vis_backends (list[dict], optional): Back ends. Defaults to None.
        save_dir (str, optional): Folder of the back ends. Defaults to None.
        max_size (int): Maximum width and height of the panels together, in
            pixels. Defaults to 3072.

    Raises:
        InputError: If ``max_size`` is out of range.
    """

    def __init__(self,
                 name: str = 'visualizer',
                 image: np.ndarray | None = None,
                 vis_backends: list[dict] | None = None,
                 save_dir: str | None = None,
                 max_size: int = 3072) -> None:
        super().__init__(name, image, vis_backends, save_dir)
        check_number('max_size', max_size, low=64, integer=True)
        self.max_size = max_size

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
                of shape ``(H, W, 3)``, uint8 BGR, or ``(H, W)``, gray.
            data_sample (AnomalyDataSample, optional): Sample with
                ``pred_map``, ``pred_score``, ``pred_label``, ``p_value``,
                ``gt_label``, ``gt_mask`` and metainfo, as far as known.
                Defaults to None.
            value_range (tuple[float, float], optional): Map values of the
                coldest and the hottest color. Use the same values for all
                images of a data set, so that normal images look cold.
                Defaults to None: from 0 to twice the ``pixel_threshold`` of
                the sample, or minimum and maximum of this map without a
                positive one.
            frame (str): ``'input'`` if the image is the model input,
                ``'original'`` if it is the original image; then the map is
                resized to it. Defaults to 'input'.
            draw_gt (bool): Draw the panel of the ground truth. Defaults to
                True.
            draw_pred (bool): Draw the panel of the anomaly map and its scale.
                Defaults to True.

        Returns:
            np.ndarray: Drawing of shape ``(H', W', 3)``, uint8 BGR.

        Raises:
            InputError: If the image and its map or mask have different sizes,
                or the place of the map in the original image is not known.
        """
        check_choice('frame', frame, ('input', 'original'))
        sample = AnomalyDataSample() if data_sample is None else data_sample
        if image.ndim == 2 or image.shape[2] == 1:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        has_map = draw_pred and 'pred_map' in sample
        has_mask = draw_gt and 'gt_mask' in sample
        shape, is_row = panel_shape(image.shape, 1 + has_map + has_mask,
                                    self.max_size)
        page = Page(shape, is_row, 1 + has_map + has_mask)
        small = resize_image(image, shape)
        page.add_panel('image', small)
        if has_map:
            _check_map(image, sample, frame)
            scores = resize_scores(sample.pred_map.detach().cpu().numpy(),
                                   sample, shape, frame)
            scale = _scale(scores, sample, value_range)
            heat = scale.overlay(small, scores)
            if scale.threshold is not None:
                draw_outline(heat, scores > scale.threshold, page.line)
            unseen = ' (gray: not scored)' * bool(np.isnan(scores).any())
            page.add_panel('anomaly map' + unseen, heat, scale)
        if has_mask:
            mask = resize_mask(_truth(image, sample, frame), shape)
            drawn = (255 - _FADED * (255 - small)).astype(np.uint8)
            drawn[mask] = 0
            none = ': none' * (not mask.any())
            page.add_panel('ground truth' + none, drawn)
        return page.finish(sample)

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
            image (np.ndarray): See :meth:`draw`.
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
            self.add_image(name, drawn[..., ::-1], step)
            return
        # cv2.imwrite would return False for a full disk, without a reason.
        write_atomically(out_file, cv2.imencode('.png', drawn)[1].tobytes())

    @master_only
    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        """Write an image ``(H, W, 3)``, uint8 RGB, to the back ends.

        Args:
            name (str): Identifier.
            image (np.ndarray): The image.
            step (int): Global step. Defaults to 0.
        """
        for backend in self._vis_backends.values():
            # MLflow keeps images as files, of a format named by the suffix.
            is_file = type(backend).__name__ == 'MLflowVisBackend'
            backend.add_image(f'{name}_{step}.png' if is_file else name, image,
                              step)


def _scale(scores: np.ndarray, sample: AnomalyDataSample,
           value_range: tuple[float, float] | None) -> HeatScale:
    threshold = sample.get('pixel_threshold')
    if value_range is not None:
        return HeatScale(*value_range, threshold)
    finite = scores[np.isfinite(scores)]
    ends = ([finite.min()], [finite.max()]) if finite.size else ([], [])
    return HeatScale.of_maps(*ends, threshold)


def _check_map(image: np.ndarray, sample: AnomalyDataSample,
               frame: str) -> None:
    shape = tuple(sample.pred_map.shape)
    if frame == 'original':
        require_place(sample, "draw the model input with frame='input'")
        if sample.get('ori_shape') is None:
            raise InputError('the original size of the image is not known; '
                             'let the pipeline pack `ori_shape`.')
        shape = tuple(sample.ori_shape)
    _check_size(image, shape, 'anomaly map', frame)


def _truth(image: np.ndarray, sample: AnomalyDataSample,
           frame: str) -> np.ndarray:
    """Return the mask ``(H, W)`` at the size of the image."""
    mask = sample.gt_mask.cpu()
    if frame == 'original' and mask.shape != image.shape[:2]:
        mask = AnomalyDataSample(
            metainfo=sample.metainfo, pred_map=mask).original_map() >= 0.5
    _check_size(image, tuple(mask.shape), 'mask', frame)
    return mask.numpy()


def _check_size(image: np.ndarray, shape: tuple[int, ...], name: str,
                frame: str) -> None:
    if image.shape[:2] != shape:
        raise InputError(
            f'the image to draw is {image.shape[1]}x{image.shape[0]} and its '
            f'{name} {shape[1]}x{shape[0]} at frame={frame!r}; give the '
            "model input with 'input', or the original image with "
            "'original'.")
