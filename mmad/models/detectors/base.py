from abc import ABCMeta, abstractmethod

from mmengine.model import BaseModel
from torch import Tensor

from mmad.structures import AnomalyDataSample


class BaseDetector(BaseModel, metaclass=ABCMeta):
    """An anomaly detector: images in, scores and maps out.

    Args:
        data_preprocessor (dict, optional): Batches and normalises images.
            Defaults to None.
    """

    def forward(self,
                inputs: Tensor,
                data_samples: list[AnomalyDataSample] | None = None,
                mode: str = 'tensor'):
        """Run the detector.

        Args:
            inputs (Tensor): Preprocessed images ``(B, 3, H, W)``.
            data_samples (list[AnomalyDataSample], optional): What is known of
                them. Defaults to None.
            mode (str): ``'tensor'`` for :meth:`score`, ``'predict'`` for
                :meth:`predict`, ``'loss'`` for :meth:`loss`.
        """
        if mode == 'tensor':
            return self.score(inputs)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        raise ValueError(f'`mode` must be "tensor", "predict" or "loss", got '
                         f'"{mode}".')

    @abstractmethod
    def score(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Score images; free of side effects, so that it can be exported.

        Args:
            inputs (Tensor): ``(B, 3, H, W)``.

        Returns:
            tuple[Tensor, Tensor]: Image scores ``(B,)`` and anomaly maps
            ``(B, 1, H, W)`` at input resolution. Higher is more anomalous;
            the scale is the method's own.
        """

    @abstractmethod
    def loss(self, inputs: Tensor,
             data_samples: list[AnomalyDataSample]) -> dict:
        """One training step's losses, or none for methods without them."""

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[AnomalyDataSample] | None = None
    ) -> list[AnomalyDataSample]:
        """Score images and write ``pred_score`` and ``pred_map``."""
        scores, maps = self.score(inputs)
        if data_samples is None:
            data_samples = [AnomalyDataSample() for _ in inputs]
        for sample, score, anomaly_map in zip(
                data_samples, scores, maps[:, 0], strict=True):
            sample.pred_score = score
            sample.pred_map = anomaly_map
        return data_samples
