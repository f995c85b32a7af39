from abc import ABCMeta, abstractmethod
from collections.abc import Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor

from mmad.models.fit_state import FitState, refuse_part
from mmad.models.layers.decision import Decision
from mmad.structures import AnomalyDataSample

from .input_frame import (
    blank,
    check_finite,
    common_size,
    find_borders,
    refuse_border,
    refuse_size,
)


class BaseDetector(BaseModel, metaclass=ABCMeta):
    """An anomaly detector: images in, scores and maps out.

    All images have one size, in the fit or training and in prediction, and
    are not padded to fit into a batch, so that a score depends on the image
    alone. Where a letterbox added a border, it is neither fitted nor scored:
    a detector that can leave it out says so by :attr:`takes_borders`, the
    others refuse such images.

    Args:
        data_preprocessor (dict, optional): Batches and normalizes images.
            Defaults to None.

    Attributes:
        takes_borders (bool): Whether :meth:`score` has a second argument, a
            mask of the pixels that show the image.
        fit_state (FitState): Whether it is fitted, and what with.
        decision (Decision): The thresholds, if they were calibrated.
        input_size (Tensor): ``(2,)`` int64, height and width of the images;
            zeros before the first.
    """

    takes_borders = False
    input_size: Tensor

    def __init__(self, data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self.fit_state = FitState(type(self).__name__, self.fingerprint)
        self.register_load_state_dict_post_hook(refuse_part)
        self.decision = Decision()
        self.register_buffer('input_size', torch.zeros(2, dtype=torch.int64))

    def fingerprint(self) -> dict:
        """What a checkpoint must have in common with the config.

        Returns:
            dict: Class, and name and stages of the ``backbone`` if there is
            one. A subclass adds what else its state depends on.
        """
        found: dict = dict(detector=type(self).__name__)
        backbone = getattr(self, 'backbone', None)
        if backbone is not None:
            found.update(backbone=backbone.name, stages=list(backbone.stages))
        return found

    @property
    def is_fitted(self) -> bool:
        """Whether there is something to predict with."""
        return self.fit_state.is_fitted

    def require_fitted(self) -> None:
        """Raise :class:`InputError` unless it is fitted."""
        self.fit_state.require_fitted()

    @property
    def combined(self) -> 'Sequence[BaseDetector]':
        """Detectors that it combines, on the scales of normal images.

        A calibration has them score normal images first, and hands what it
        finds to :meth:`learn_scales`. There are none by default.
        """
        return ()

    def learn_scales(self, scores: Tensor, map_means: Tensor,
                     map_stds: Tensor) -> None:
        """Learn how the ``K`` detectors of :attr:`combined` score.

        Args:
            scores (Tensor): ``(K, n)``, of normal images that they have not
                learned from.
            map_means (Tensor): ``(K, n)``, the mean value of their maps.
            map_stds (Tensor): ``(K, n)``, the standard deviation of the
                values of each map.
        """
        raise NotImplementedError

    def begin_training(self, num_batches: int) -> None:
        """Forget an earlier training.

        Args:
            num_batches (int): Of an epoch, per process, after which it counts
                as fitted.
        """
        self.fit_state.begin_training(num_batches)
        self.decision.reset()
        self.input_size.zero_()

    def parse_losses(self, losses: dict) -> tuple[Tensor, dict]:
        """Sum up the losses, check the sum and count the batch.

        Raises:
            InputError: The sum of the losses is not finite.
        """
        return self.fit_state.after_batch(*super().parse_losses(losses))

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

        Raises:
            InputError: The detector is not fitted and is to score or predict.
        """
        if mode == 'tensor':
            self.require_fitted()
            return self.score(inputs)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'loss':
            self.check_frame(inputs, data_samples)
            return self.loss(inputs, data_samples)  # type: ignore[arg-type]
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

    def score_in_graph(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Score images while an exported graph is made.

        A method whose map is no plain computation returns None in its place,
        and one that has no graph raises :class:`InputError`.

        Args:
            inputs (Tensor): ``(B, 3, H, W)``.

        Returns:
            tuple[Tensor, Tensor | None]: As :meth:`score` does.
        """
        return self.score(inputs)

    @abstractmethod
    def loss(self, inputs: Tensor,
             data_samples: list[AnomalyDataSample]) -> dict:
        """Compute the losses of a training step; none without training."""

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[AnomalyDataSample] | None = None
    ) -> list[AnomalyDataSample]:
        """Score images, and decide about them where there are thresholds.

        Written are ``pred_score`` and ``pred_map``, NaN in the border of a
        letterbox; and after a calibration ``pred_label``, ``pred_mask``,
        ``p_value`` and the metainfo ``image_threshold``,
        ``pixel_threshold`` and ``false_alarm_rate``.

        Raises:
            InputError: The detector is not fitted; images were padded or have
                another size than those before; or a score is not finite.
            ValueError: Scores or maps do not have the shape that
                :meth:`score` promises.
        """
        self.require_fitted()
        inside = self.check_frame(inputs, data_samples)
        if inside is None:
            scores, maps = self.score(inputs)
        else:
            scores, maps = self.score(  # type: ignore[call-arg]
                blank(inputs, inside), inside)
        self._check_shapes(inputs, scores, maps)
        if data_samples is None:
            data_samples = [AnomalyDataSample() for _ in inputs]
        check_finite(scores, maps if inside is None else blank(maps, inside),
                     data_samples)
        if inside is not None:
            maps = maps.where(inside, torch.nan)
        for sample, score, anomaly_map in zip(
                data_samples, scores, maps[:, 0], strict=True):
            sample.pred_score = score
            sample.pred_map = anomaly_map
        if self.decision.is_fitted:
            self._decide(data_samples, scores, maps)
        return data_samples

    def _decide(self, data_samples: Sequence[AnomalyDataSample],
                scores: Tensor, maps: Tensor) -> None:
        image_threshold, pixel_threshold = self.decision.thresholds.tolist()
        known = dict(
            image_threshold=image_threshold,
            pixel_threshold=pixel_threshold,
            false_alarm_rate=self.decision.conditions.get('false_alarm_rate'))
        labels, masks = self.decision(scores, maps)
        for sample, label, mask, p_value in zip(
                data_samples,
                labels,
                masks[:, 0],
                self.decision.p_values(scores),
                strict=True):
            sample.pred_label = label
            sample.pred_mask = mask
            sample.p_value = p_value
            sample.set_metainfo(known)

    def _check_shapes(self, inputs: Tensor, scores: Tensor,
                      maps: Tensor) -> None:
        expected = (len(inputs), ), (len(inputs), 1, *inputs.shape[-2:])
        found = tuple(scores.shape), tuple(maps.shape)
        if found != expected:
            raise ValueError(
                f'`{type(self).__name__}.score` returned scores and maps of '
                f'the shapes {found[0]} and {found[1]}, which must be '
                f'{expected[0]} and {expected[1]}.')

    @torch.compiler.disable
    def check_frame(
            self, inputs: Tensor,
            data_samples: Sequence[AnomalyDataSample] | None) -> Tensor | None:
        """Check that images are of one size, and find their borders.

        The size of the first images becomes :attr:`input_size`.

        Args:
            inputs (Tensor): ``(B, 3, H, W)``.
            data_samples (Sequence[AnomalyDataSample], optional): Those of the
                images.

        Returns:
            Tensor | None: ``(B, 1, H, W)`` bool, False in the border of a
            letterbox; None where there is no border.

        Raises:
            InputError: An image was padded, has another size than those
                before, or a border that the detector cannot leave out.
        """
        samples = [
            sample or AnomalyDataSample() for sample in data_samples or []
        ]
        size = common_size(inputs, samples)
        known = tuple(self.input_size.tolist())
        if not any(known):
            self.input_size.copy_(torch.tensor(size))
        elif known != size:
            refuse_size(size, known, samples)
        inside = find_borders(inputs, samples)
        if inside is not None and not self.takes_borders:
            refuse_border(inside, samples, type(self).__name__)
        return inside
