import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import Compose
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import Dataset, Subset

from mmad.errors import InputError, printable
from mmad.evaluation import ImageMetric, PixelMetric
from mmad.models import BaseDetector, FitDetector
from mmad.models.layers import all_gather_rows, broadcast_
from mmad.registry import HOOKS
from mmad.utils import write_atomically
from mmad.utils.arguments import check_choice, check_number

from .hook_utils import (
    build_ordered_loader,
    even_steps,
    get_detector,
    hold_out,
    resumed_after_training,
    save_resumable_checkpoint,
    validated_epochs,
    with_progress_bar,
)

_METHODS = ('auto', 'leave_one_out', 'held_out')
_SHOWN = 3
# Fewer have no spread without one of them.
_LEAST = 3
_BATCH = 16  # images at a time, at most


@HOOKS.register_module()
class CalibrationHook(Hook):
    """Find the thresholds for a stated false-alarm rate, from normal images.

    Normal images are scored as if the detector had not learned from them, and
    the thresholds of its :class:`~mmad.models.layers.Decision` are the
    conformal quantiles of these scores. This is done behind the fit or the
    training, before the checkpoint is written, and before each validation.

    - ``'leave_one_out'`` scores each training image without its own
      contribution to the fit. It takes another pass, and every image counts
      for the fit. It is for detectors whose fit can leave out an image.
    - ``'held_out'`` keeps a share of the training images from the fit or
      training. It is for every detector, and the false-alarm rate holds
      exactly: on average over such sets of images, no more than the wanted
      share of new normal images is above the threshold.

    Which images were scored, and how, is written to ``calibration.json`` in
    the work directory, the oddest first.

    Args:
        method (str): ``'leave_one_out'``, ``'held_out'``, or ``'auto'``:
            the first where the detector can, else none, so that it has no
            thresholds. Defaults to ``'auto'``.
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
            validation images, which must have labels and are then no fair
            test; or a number for the image score. Defaults to
            ``'conformal'``.
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

    def before_run(self, runner: Runner) -> None:
        if self.method == 'held_out':
            self._held_out = self._held_out or hold_out(
                runner, self, self.share, self.seed)

    def before_train(self, runner: Runner) -> None:
        self._validated = validated_epochs(runner)
        detector = get_detector(runner)
        self._is_on = isinstance(detector,
                                 BaseDetector) and (self.method == 'held_out'
                                                    or can_leave_out(detector))
        if self.method == 'leave_one_out' and not self._is_on:
            raise InputError(
                f'the fit of {type(detector).__name__} cannot leave out an '
                'image; set `method="held_out"` of the CalibrationHook.')
        if self.threshold == 'best_f1' and runner.val_loop is None:
            raise InputError(
                '`threshold="best_f1"` of the CalibrationHook needs '
                'validation images with labels; set `val_dataloader`, or '
                'use "conformal".')
        number = len(runner.train_loop.dataloader.dataset)
        if self._is_on and self._held_out is None and number < _LEAST:
            raise InputError(
                f'there are too few training images ({number}) to leave one '
                f'out for a threshold; add images, at least {_LEAST} beside '
                'those for testing, better 50 or more.')
        if not self._is_on and isinstance(detector, BaseDetector):
            runner.logger.info(
                'No threshold: '
                f'{type(detector).__name__} cannot leave an image out of its '
                'fit; `default_hooks.calibration.method="held_out"` keeps '
                'some for it.')
        if (self._is_on and resumed_after_training(runner)
                and detector.is_fitted and not detector.decision.is_fitted):
            self._calibrate(runner)
            save_resumable_checkpoint(runner, runner.epoch, runner.iter)

    def before_train_epoch(self, runner: Runner) -> None:
        if self._is_on:
            get_detector(runner).decision.reset()

    def after_train_epoch(self, runner: Runner) -> None:
        epoch = runner.epoch + 1
        if not self._is_on or not get_detector(runner).is_fitted:
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
        numbers, scores, peaks = self._score(runner, images)
        decision.calibrate(scores, peaks, self.false_alarm_rate, method,
                           numbers if self._held_out is None else None)
        if self.threshold != 'conformal' or self.pixel_threshold is not None:
            self._set_thresholds(runner)
        if isinstance(detector, FitDetector):
            detector.end_calibration()
        detector.train(was_training)
        self._report(runner, images, numbers, scores)

    @torch.no_grad()
    def _score(self, runner: Runner,
               images: Dataset) -> tuple[list[int], Tensor, Tensor]:
        """Score images, those of all processes, in their order.

        Returns:
            tuple: Numbers of the images in the data set, their scores and the
            largest values of their maps.
        """
        detector = get_detector(runner)
        detector.decision.reset()
        size = min(_BATCH, runner.train_loop.dataloader.batch_size or 1)
        loader = build_ordered_loader(runner, images, size)
        rows = []
        for batch in with_progress_bar(loader, 'Calibrating'):
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
            with leaving_out:
                detector(inputs, samples, mode='predict')
            rows += [[
                sample.sample_idx,
                float(sample.pred_score),
                float(sample.pred_map.nan_to_num(-torch.inf).max())
            ] for sample in samples[:number]]
        table = all_gather_rows(
            torch.tensor(rows, dtype=torch.float64).view(-1, 3))
        table = table[table[:, 0].argsort()]
        return table[:, 0].long().tolist(), table[:, 1], table[:, 2]

    def _set_thresholds(self, runner: Runner) -> None:
        decision = get_detector(runner).decision
        image, pixel = decision.thresholds.tolist()
        kind = 'given'
        if self.threshold == 'best_f1':
            image, pixel = self._best_f1(runner)
            kind = 'best_f1'
        elif self.threshold != 'conformal':
            image = float(self.threshold)
        if self.pixel_threshold is not None:
            pixel = self.pixel_threshold
        decision.set_thresholds(image, pixel, kind)

    @torch.no_grad()
    def _best_f1(self, runner: Runner) -> tuple[float, float]:
        """Find the thresholds with the highest F1 on the validation images."""
        detector = get_detector(runner)
        loader = runner.val_loop.dataloader
        metrics = ImageMetric(), PixelMetric()
        for batch in with_progress_bar(loader, 'Finding the best F1'):
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
            raise InputError(
                'the validation images have no labels of both kinds, normal '
                'and anomalous, that `threshold="best_f1"` of the '
                'CalibrationHook needs; use "conformal".')
        if math.isnan(pixel):  # without masks
            pixel = float(detector.decision.thresholds[1])
        return image, pixel

    def _report(self, runner: Runner, images: Dataset, numbers: list[int],
                scores: Tensor) -> None:
        if not is_main_process():
            return
        decision = get_detector(runner).decision
        conditions = decision.conditions
        order = scores.argsort(descending=True, stable=True).tolist()
        entries: list[dict[str, Any]] = [
            dict(path=_path(images, numbers[i]), score=float(scores[i]))
            for i in order
        ]
        image, pixel = decision.thresholds.tolist()
        text = json.dumps(
            dict(
                conditions,
                image_threshold=image,
                pixel_threshold=pixel,
                images=entries),
            indent=2)
        write_atomically(
            Path(runner.work_dir, 'calibration.json'), (text + '\n').encode())
        rate = conditions['false_alarm_rate']
        if rate is None:
            runner.logger.info(
                f'Threshold: {image:.4g}, of the map {pixel:.4g} '
                f'({conditions["threshold_kind"]})')
            return
        if rate > self.false_alarm_rate:
            runner.logger.warning(
                f'{len(decision)} normal images cannot tell a false-alarm '
                f'rate below {100 * rate:.2g} %, which is used in place of '
                f'{100 * self.false_alarm_rate:g} %; calibrate with at least '
                f'{round(1 / self.false_alarm_rate) - 1}, or raise '
                '`default_hooks.calibration.false_alarm_rate`.')
        how = ('each left out of the fit'
               if self._held_out is None else 'held out')
        runner.logger.info(
            f'Threshold: {image:.4g}, of the map {pixel:.4g}, for a '
            f'false-alarm rate of {100 * rate:.2g} %, from {len(decision)} '
            f'normal images, {how}')
        runner.logger.info(f'Their scores: {_describe(scores)}')
        odd = ', '.join(f'{Path(entry["path"] or "?").name} '
                        f'({entry["score"]:.4g})'
                        for entry in entries[:_SHOWN])
        runner.logger.info(printable(f'Oddest normal images: {odd}'))


def _describe(scores: Tensor) -> str:
    """Describe a distribution by those of its quantiles that differ."""
    values = scores.sort().values
    shares = [s for s in (0.5, 0.9, 0.99) if s <= 1 - 1 / len(values)]
    parts = [f'{values[0]:.4g} (lowest)']
    parts += [
        f'{torch.quantile(values, share):.4g} '
        f'({"median" if share == 0.5 else f"{100 * share:g} %"})'
        for share in shares
    ]
    return ', '.join([*parts, f'{values[-1]:.4g} (highest)'])


def can_leave_out(model: object) -> bool:
    """Return whether a model is a fitted one that can leave out an image."""
    return isinstance(model, FitDetector) and model.can_leave_out


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
