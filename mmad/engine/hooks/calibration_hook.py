from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import Dataset

from mmad.errors import InputError
from mmad.registry import HOOKS
from mmad.utils.arguments import check_number

from .stages import (
    detector_of,
    fit_statistics,
    one_by_one,
    progress,
    save_stage,
    split_training_data,
    train_on,
    validated_epochs,
)


@HOOKS.register_module()
class CalibrationHook(Hook):
    """Calibrates Uninformed Students on normal images kept from training.

    Mean and standard deviation of regression error and predictive variance
    are measured after each epoch that a
    validation follows, and after the last, before the checkpoint is written.
    They end with the next epoch, so that checkpoints in between are not
    calibrated and refuse to predict.

    After the last epoch the checkpoint is written before the calibration too:
    a run that is resumed from there calibrates, saves and validates.

    Args:
        share (float): Share of the training images that is kept, at least one
            image. Defaults to 0.1.
        seed (int): Of their choice. Defaults to 0.

    Raises:
        InputError: An argument is out of its range, there is one training
            image only, or a schedule counts iterations of all images.
    """

    priority = 'NORMAL'

    def __init__(self, share: float = 0.1, seed: int = 0) -> None:
        check_number('share', share, above=0, below=1)
        check_number('seed', seed, low=0, integer=True)
        self.share = share
        self.seed = seed
        self._kept: Dataset | None = None

    def before_run(self, runner: Runner) -> None:
        # The loop is built only where it is about to be run; a test behind
        # the training finds it parted already.
        if not isinstance(runner._train_loop, BaseLoop) or self._kept:
            return
        schedules = runner.cfg.get('param_scheduler') or []
        if isinstance(schedules, dict):
            schedules = [schedules]
        if any(one.get('convert_to_iter_based') for one in schedules):
            raise InputError(
                '`param_scheduler` with `convert_to_iter_based` counts all '
                'images, of which the CalibrationHook keeps some from the '
                'training; leave it out, or set `by_epoch=False` and `end`.')
        rest, self._kept = split_training_data(runner, self.share, self.seed)
        train_on(runner, rest)
        # Built by now, for all images.
        if any(not one.get('by_epoch', True) and 'end' not in one
               for one in schedules):
            raise InputError(
                '`param_scheduler` with `by_epoch=False` ends with the '
                'iterations of all images, of which the CalibrationHook keeps '
                'some from the training; set its `end`, which is '
                f'{runner.max_iters} for the whole training.')

    def before_train(self, runner: Runner) -> None:
        self._validated = validated_epochs(runner)
        self._resumed_after_training = runner.epoch >= runner.max_epochs

    def before_train_epoch(self, runner: Runner) -> None:
        for scale in detector_of(runner).scales.values():
            scale.score_statistics.reset()

    def after_train_epoch(self, runner: Runner) -> None:
        epoch = runner.epoch + 1
        if epoch == runner.max_epochs:
            save_stage(runner, epoch, runner.iter)
            self._calibrate(runner)
        elif epoch in self._validated:
            self._calibrate(runner)

    def after_train(self, runner: Runner) -> None:
        if not self._resumed_after_training:
            return
        if not detector_of(runner).is_calibrated:
            self._calibrate(runner)
            save_stage(runner, runner.epoch, runner.iter)
        if runner.val_loop is not None:
            runner.logger.info(
                'The resumed checkpoint is trained already; validating it.')
            runner.val_loop.run()

    def _calibrate(self, runner: Runner) -> None:
        students = detector_of(runner)
        fit_statistics(students,
                       progress(one_by_one(runner, self._kept), 'Calibrating'),
                       [(scale.score_statistics, scale)
                        for scale in students.scales.values()])
