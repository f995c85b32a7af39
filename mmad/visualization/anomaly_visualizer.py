from pathlib import Path

import cv2
import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer

from mmad.registry import VISUALIZERS
from mmad.structures import AnomalyDataSample

_BANNER = 24
_CONTOUR = (80, 255, 80)


@VISUALIZERS.register_module()
class AnomalyVisualizer(Visualizer):
    """Draws what a detector saw: image, heat map and overlay side by side.

    The outline of the ground truth is green in all three; the banner tells
    the kind and the score.
    """

    def draw(self, image: np.ndarray, data_sample: AnomalyDataSample,
             value_range: tuple[float, float]) -> np.ndarray:
        """Draw one image.

        Args:
            image (np.ndarray): ``(H, W, 3)`` uint8 BGR, the model's view.
            data_sample (AnomalyDataSample): With ``pred_map`` and, as far as
                known, ``pred_score``, ``gt_mask`` and ``kind``.
            value_range (tuple[float, float]): Map values for the coldest and
                the hottest colour; the same for all images of a set, so that
                good parts look cold.

        Returns:
            np.ndarray: ``(H + 24, 3 W, 3)`` uint8 BGR.
        """
        low, high = value_range
        heat = data_sample.pred_map.detach().cpu().numpy().astype(np.float32)
        heat = np.clip((heat - low) / max(high - low, 1e-12), 0, 1)
        colours = cv2.applyColorMap((heat * 255).astype(np.uint8),
                                    cv2.COLORMAP_INFERNO)
        alpha = 0.8 * heat[..., None]
        overlay = (image * (1 - alpha) + colours * alpha).astype(np.uint8)
        panels = [image.copy(), colours, overlay]
        if 'gt_mask' in data_sample and data_sample.gt_mask.any():
            for panel in panels:
                draw_outline(panel, data_sample.gt_mask.cpu().numpy())
        row = np.concatenate(panels, 1)
        banner = np.full((_BANNER, row.shape[1], 3), 32, np.uint8)
        title = str(data_sample.get('kind', ''))
        if 'pred_score' in data_sample:
            title += f'   score {float(data_sample.pred_score):.3f}'
        cv2.putText(banner, title.strip(), (6, 17), cv2.FONT_HERSHEY_SIMPLEX,
                    0.45, (255, 255, 255), 1, cv2.LINE_AA)
        return np.concatenate([banner, row], 0)

    def add_datasample(self,
                       name: str,
                       image: np.ndarray,
                       data_sample: AnomalyDataSample,
                       value_range: tuple[float, float],
                       out_file: str | Path | None = None,
                       step: int = 0) -> None:
        """Draw one image into a file, or hand it to the back ends.

        Args:
            name (str): Identifier for the back ends.
            image (np.ndarray): ``(H, W, 3)`` uint8 BGR.
            data_sample (AnomalyDataSample): See :meth:`draw`.
            value_range (tuple[float, float]): See :meth:`draw`.
            out_file (str | Path, optional): PNG to write. Defaults to None.
            step (int): Global step for the back ends. Defaults to 0.

        Raises:
            OSError: The file cannot be written.
        """
        drawn = self.draw(image, data_sample, value_range)
        if out_file is None:
            self._add_to_backends(name, drawn[..., ::-1], step)
            return
        out_file = Path(out_file)
        out_file.parent.mkdir(parents=True, exist_ok=True)
        # cv2.imwrite would return False on a full disk and lose the reason.
        out_file.write_bytes(cv2.imencode('.png', drawn)[1].tobytes())

    @master_only
    def _add_to_backends(self, name: str, image: np.ndarray,
                         step: int) -> None:
        self.add_image(name, image, step)


def draw_outline(image: np.ndarray, mask: np.ndarray) -> None:
    """Draw the outline of a mask ``(H, W)`` into a BGR image, in place."""
    outline, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, outline, -1, _CONTOUR, 1)
