import math
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from mmengine.dataset import Compose
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import Dataset, Subset

from mmad.errors import InputError
from mmad.evaluation import ImageMetric, PixelMetric
from mmad.models import BaseDetector, FitDetector
from mmad.models.layers import all_gather_rows, broadcast_
from mmad.registry import HOOKS
from mmad.structures import AnomalyDataSample
from mmad.utils.arguments import check_choice, check_number
from mmad.utils.progress import show_progress

from .calibration_report import report_calibration
from .hook_utils import (
    build_ordered_loader,
    even_steps,
    get_detector,
    hold_out,
    resumed_after_training,
    save_resumable_checkpoint,
    validated_epochs,
)

_METHODS = ('auto', 'leave_one_out', 'held_out', 'off')
# Fewer have no spread without one of them.
_LEAST = 3
_BATCH = 16  # images at a time, at most


@HOOKS.register_module()
class CalibrationHook(Hook):
    """Find the thresholds for a stated false-alarm rate, from normal images.

    Normal images are scored as if the detector had not learned from them, and
    the thresholds of its :class:`~mmad.models.layers.Decision` are the
    conformal quantiles of these scores. This is done after the fit or the
    training, before the checkpoint is written, and before each validation.

    - ``'leave_one_out'`` scores each training image without its own
      contribution to the fit. It takes another pass, and every image counts
      for the fit. It is for detectors whose fit can leave out an image.
    - ``'held_out'`` keeps a share of the training images from the fit or
      training. It is for every detector, and the false-alarm rate holds
      exactly: on average over such sets of images, no more than the wanted
      share of new normal images is above the threshold.

    Where a detector combines others, these are scored first, in a pass of
    their own, to find their scales.

    Which images were scored, and how, is written to ``calibration.json`` in
    the work directory, the oddest first.

    Args:
        method (str): ``'leave_one_out'``, ``'held_out'``, ``'off'`` for no
            thresholds, or ``'auto'``: the first where the detector can, else
            none. Defaults to ``'auto'``.
        false_alarm_rate (float): Wanted share of normal images above the
            threshold, in (0, 1). ``n`` images cannot tell a rate below
            ``1 / (n + 1)``; then this rate is used, and a warning says so.
            Defaults to 0.01.
        share (float): Share of the training images that ``'held_out'`` keeps,
            at least one. Defaults to 0.2.
        seed (int): Seed of the random choice of these. Defaults to 0.
        max_images (int): Most images that ``'leave_one_out'`` scores, drawn
            in equal steps. Defaults to 10,000.
        threshold (str | float): ``'conformal'`` for the wanted rate;
            ``'best_f1'`` for the thresholds with the highest F1 on the
            validation images, which are then no fair test (conformal if
            they have not both labels); or a number for the image score.
            Defaults to ``'conformal'``.
        pixel_threshold (float, optional): A number for the anomaly maps.
            Defaults to None: as ``threshold`` says, conformal beside a
            number.

    Raises:
        InputError: An argument is out of its range, the detector cannot leave
            out an image, there are fewer than three, or there are no
            validation images for ``'best_f1'``.
    """

    # Behind every fit, before the checkpoint.
    priority = 'LOW'

    def __init__(self,
                 method: str = 'auto',
                 false_alarm_rate: float = 0.01,
                 share: float = 0.2,
                 seed: int = 0,
                 max_images: int = 10_000,
                 threshold: str | float = 'conformal',
                 pixel_threshold: float | None = None) -> None:
        check_choice('method', method, _METHODS)
        check_number('false_alarm_rate', false_alarm_rate, above=0, below=1)
        check_number('share', share, above=0, below=1)
        check_number('seed', seed, low=0, integer=True)
        check_number('max_images', max_images, low=1, integer=True)
        if isinstance(threshold, str):
            check_choice('threshold', threshold, ('conformal', 'best_f1'))
        else:
            check_number('threshold', threshold)
        check_number('pixel_threshold', pixel_threshold, optional=True)
        self.method = method
        self.false_alarm_rate = false_alarm_rate
        self.share = share
        self.seed = seed
        self.max_images = max_images
        self.threshold = threshold
        self.pixel_threshold = pixel_threshold
        self._held_out: Dataset | None = None

    @property
    def leaves_out(self) -> bool:
        """Whether images are left out of the fit, if the detector can."""
        return self.method in ('auto', 'leave_one_out')

    def before_run(self, runner: Runner) -> None:
        if self.method == 'held_out':
            self._held_out = self._held_out or hold_out(
                runner, self, self.share, self.seed)

    def before_train(self, runner: Runner) -> None:
        self._validated = validated_epochs(runner)
        detector = get_detector(runner)
        obstacle = None
        if isinstance(detector, BaseDetector) and self.leaves_out:
            obstacle = _obstacle(detector,
                                 len(runner.train_loop.dataloader.dataset))
        if obstacle and (self.method == 'leave_one_out' or detector.combined):
            raise InputError(obstacle)
        if obstacle:
            runner.logger.warning(f'No threshold: {obstacle}')
        self._is_on = isinstance(
            detector, BaseDetector) and (self.method == 'held_out' or
                                         (self.leaves_out and not obstacle))
        if self.threshold == 'best_f1' and runner.val_loop is None:
            raise InputError(
                '`threshold="best_f1"` of the CalibrationHook needs '
                'validation images with labels; set `val_dataloader`, or '
                'use "conformal".')
        if (self._is_on and resumed_after_training(runner)
                and _is_learned(detector) and not detector.decision.is_fitted):
            self._calibrate(runner)
            save_resumable_checkpoint(runner, runner.epoch, runner.iter)

    def before_train_epoch(self, runner: Runner) -> None:
        if self._is_on:
            get_detector(runner).decision.reset()

    def after_train_epoch(self, runner: Runner) -> None:
        epoch = runner.epoch + 1
        if not self._is_on or not _is_learned(get_detector(runner)):
            return
        if epoch == runner.max_epochs:
            # A run that ends in the middle need not fit again.
            save_resumable_checkpoint(runner, epoch, runner.iter)
            self._calibrate(runner)
        elif epoch in self._validated:
            self._calibrate(runner)

    def _calibrate(self, runner: Runner) -> None:
        detector = get_detector(runner)
        decision = detector.decision
        was_training = detector.training
        detector.eval()
        if self._held_out is None:
            method = 'leave_one_out'
            whole = runner.train_loop.dataloader.dataset
            images: Dataset = Subset(whole, even_steps(whole, self.max_images))
        else:
            method = 'held_out'
            images = _as_in_a_test(runner, self._held_out)
        if detector.combined:
            scores, _, means, stds = self._score(runner, images,
                                                 detector.combined)[1]
            detector.learn_scales(scores, means, stds)
        numbers, values = self._score(runner, images, [detector])
        scores, peaks = values[:2, 0]
        decision.calibrate(scores, peaks, self.false_alarm_rate, method,
                           numbers if self._held_out is None else None)
        if self.threshold != 'conformal' or self.pixel_threshold is not None:
            self._set_thresholds(runner)
        if isinstance(detector, FitDetector):
            detector.end_calibration()
        detector.train(was_training)
        if is_main_process():
            report_calibration(runner, detector.decision,
                               self.false_alarm_rate,
                               [_path(images, number)
                                for number in numbers], scores)

    @torch.no_grad()
    def _score(self, runner: Runner, images: Dataset,
               scored: Sequence[BaseDetector]) -> tuple[list[int], Tensor]:
        """Score images, those of all processes, in their order.

        Returns:
            tuple: Numbers of the ``n`` images in the data set, and
            ``(4, K, n)``: by ``K`` detectors, their scores, and the largest
            value, the mean and the standard deviation of their maps.
        """
        detector = get_detector(runner)
        detector.decision.reset()
        size = min(_BATCH, runner.train_loop.dataloader.batch_size or 1)
        loader = build_ordered_loader(runner, images, size)
        rows: list[list] = []
        for batch in show_progress(loader, 'Calibrating'):
            data = detector.data_preprocessor(batch, False)
            inputs, samples = data['inputs'], data['data_samples']
            number = len(samples)
            # Filled up, so that no image is rounded by how many there are.
            samples += [samples[0].clone() for _ in range(size - number)]
            inputs = inputs[[*range(number), *[0] * (size - number)]]
            ids = [sample.sample_idx for sample in samples]
            # Held out, they have not been in the fit.
            leaving_out = (
                detector.leaving_out(ids)
                if self._held_out is None else nullcontext())
            found = [[i] for i in ids]
            with leaving_out:
                for one in scored:
                    one(inputs, samples, mode='predict')
                    for row, sample in zip(found, samples):
                        row += _describe(sample)
            rows += found[:number]
        table = all_gather_rows(
            torch.tensor(rows,
                         dtype=torch.float64).view(-1, 1 + 4 * len(scored)))
        numbers, *values = table[table[:, 0].argsort()].T
        return numbers.long().tolist(), torch.stack(values).unflatten(
            0, (-1, 4)).transpose(0, 1)

    def _set_thresholds(self, runner: Runner) -> None:
        decision = get_detector(runner).decision
        image, pixel = decision.thresholds.tolist()
        kind = 'given'
        if self.threshold == 'best_f1':
            best = self._best_f1(runner)
            if best is not None:
                (image, pixel), kind = best, 'best_f1'
            elif self.pixel_threshold is None:
                return
        elif self.threshold != 'conformal':
            image = float(self.threshold)
        if self.pixel_threshold is not None:
            pixel = self.pixel_threshold
        decision.set_thresholds(image, pixel, kind)

    @torch.no_grad()
    def _best_f1(self, runner: Runner) -> tuple[float, float] | None:
        """Find the thresholds with the highest F1, if there are labels."""
        detector = get_detector(runner)
        loader = runner.val_loop.dataloader
        metrics = ImageMetric(), PixelMetric()
        for batch in show_progress(loader, 'Finding the best F1'):
            data = detector.data_preprocessor(batch, False)
            samples = detector(**data, mode='predict')
            for metric in metrics:
                metric.process(batch, [s.to_dict() for s in samples])
        for metric in metrics:
            metric.evaluate(len(loader.dataset))
        # What is just as high counts as anomalous there, but not here.
        found = torch.tensor([metric.best_threshold for metric in metrics
                              ]).nextafter(torch.tensor(-torch.inf))
        image, pixel = broadcast_(found).tolist()
        if math.isnan(image):
            # The fit is done by now, and not to be lost.
            runner.logger.warning(
                '`threshold="best_f1"` of the CalibrationHook needs normal '
                'and anomalous validation images; "conformal" is used.')
            return None
        if math.isnan(pixel):  # without masks
            pixel = float(detector.decision.thresholds[1])
        return image, pixel


def can_leave_out(model: object) -> bool:
    """Return whether a model is a fitted one that can leave out an image."""
    return isinstance(model, FitDetector) and model.can_leave_out


def _is_learned(detector: BaseDetector) -> bool:
    """Return whether there is something to calibrate."""
    return all(one.is_fitted for one in detector.combined or [detector])


def _describe(sample: AnomalyDataSample) -> list[float]:
    """Score, and largest value, mean and standard deviation of the map."""
    values = sample.pred_map[~sample.pred_map.isnan()].double()
    numbers = [
        sample.pred_score,
        values.max(),
        values.mean(),
        values.std(correction=0)
    ]
    return [float(number) for number in numbers]


def _obstacle(detector: BaseDetector, number: int) -> str | None:
    """Say why no image can be left out of a fit of so many, if so."""
    if not can_leave_out(detector):
        return (f'{type(detector).__name__} cannot leave an image out of its '
                'fit; `default_hooks.calibration.method="held_out"` keeps '
                'some for it.')
    if number < _LEAST:
        return (f'there are too few training images ({number}) to leave one '
                f'out of the fit; add images, at least {_LEAST} beside those '
                'for testing, better 50 or more.')
    return None


def _as_in_a_test(runner: Runner, dataset: Dataset) -> Dataset:
    """Use the test pipeline, without what a training adds at random."""
    loader = runner.cfg.get('test_dataloader') or {}
    pipeline = loader.get('dataset', {}).get('pipeline')
    if pipeline and hasattr(dataset, 'pipeline'):
        dataset.pipeline = Compose(pipeline)
    return dataset


def _path(images: Dataset, number: int) -> str | None:
    whole = images.dataset if isinstance(images, Subset) else images
    if not hasattr(whole, 'get_data_info'):
        return None
    return whole.get_data_info(number).get('img_path')
