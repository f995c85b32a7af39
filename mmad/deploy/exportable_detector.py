from collections.abc import Iterator

from torch import Tensor, nn

from mmad.models import BaseDetector

from .image_input import ImageInput


class ExportableDetector(nn.Module):
    """A detector with what comes before and after it, for one graph.

    Args:
        detector (BaseDetector): Fitted, in evaluation mode.
        image_input (ImageInput): What the graph takes.
        color_order (str): Of the images, ``'rgb'`` or ``'bgr'``.

    Raises:
        InputError: The detector is not fitted.
    """

    def __init__(self, detector: BaseDetector, image_input: ImageInput,
                 color_order: str) -> None:
        super().__init__()
        detector.require_fitted()
        self.detector = detector
        self.image_input = image_input
        self.is_rgb = color_order == 'rgb'

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Score images, and decide about them where there are thresholds.

        Args:
            images (Tensor): ``(B, H, W, 3)`` uint8.

        Returns:
            dict[str, Tensor]: ``score`` ``(B,)``; ``anomaly_map``
            ``(B, h, w)``, if the method has one in a graph; and after a
            calibration ``label`` ``(B,)`` bool, ``p_value`` ``(B,)`` and
            ``mask`` ``(B, h, w)`` bool.
        """
        return dict(self._outputs(images))

    def _outputs(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        images = images[(slice(None), *self.image_input.crop)]
        if self.is_rgb:  # pipelines load BGR
            images = images.flip(3)
        data = self.detector.data_preprocessor(
            dict(inputs=images.permute(0, 3, 1, 2)))
        scores, maps = self.detector.score_in_graph(data['inputs'])
        decision = self.detector.decision
        yield 'score', scores
        if decision.is_fitted:
            yield 'label', scores > decision.thresholds[0]
            yield 'p_value', _p_values(decision.scores, scores)
        if maps is None:
            return
        yield 'anomaly_map', maps[:, 0]
        if decision.is_fitted:
            yield 'mask', maps[:, 0] > decision.thresholds[1]


def _p_values(normal: Tensor, scores: Tensor) -> Tensor:
    # As in `Decision.p_values`; ONNX has no binary search.
    above = (normal >= scores[:, None]).to(scores).sum(1)
    return (above + 1) / (len(normal) + 1)
