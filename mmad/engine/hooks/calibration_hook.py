from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import Dataset

from mmad.errors import InputError
from mmad.registry import HOOKS
from mmad.utils.arguments import check_number

from .hook_utils import (
    build_single_image_loader,
    fit_statistics,
    get_detector,
    save_resumable_checkpoint,
    set_training_data,
    split_training_data,
    validated_epochs,
    with_progress_bar,
)


@HOOKS.register_module()
class CalibrationHook(Hook):
    """Calibrate Uninformed Students on normal images held out from training.

    The hook measures the mean and the standard deviation of the regression
    error and of the predictive variance. It does so after the last epoch and
    after each epoch that is followed by a validation, before the checkpoint
    is written. The next epoch resets them, so checkpoints in between are not
    calibrated and refuse to predict.

    After the last epoch, a checkpoint is also written before the calibration.
    A run that is resumed from it calibrates, saves and validates.

    Args:
        share (float): Share of the training images that is held out, at least
            one image. Defaults to 0.1.
        seed (int): Seed of the random choice of these images. Defaults to 0.

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
        self._held_out: Dataset | None = None

    def before_run(self, runner: Runner) -> None:
        # The loop is built only where it is about to be run; a test behind
        # the training finds it parted already.
        if not isinstance(runner._train_loop, BaseLoop) or (self._held_out
                                                            is not None):
            return
        schedules = runner.cfg.get('param_scheduler') or []
        if isinstance(schedules, dict):
            schedules = [schedules]
        if any(one.get('convert_to_iter_based') for one in schedules):
            raise InputError(
                '`param_scheduler` with `convert_to_iter_based` counts all '
                'images, of which the CalibrationHook keeps some from the '
                'training; leave it out, or set `by_epoch=False` and `end`.')
        rest, self._held_out = split_training_data(runner, self.share,
                                                   self.seed)
        set_training_data(runner, rest)
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
        for scale in get_detector(runner).scales.values():
            scale.score_statistics.reset()

    def after_train_epoch(self, runner: Runner) -> None:
        epoch = runner.epoch + 1
        if epoch == runner.max_epochs:
            save_resumable_checkpoint(runner, epoch, runner.iter)
            self._calibrate(runner)
        elif epoch in self._validated:
            self._calibrate(runner)

    def after_train(self, runner: Runner) -> None:
        if not self._resumed_after_training:
            return
        if not get_detector(runner).is_calibrated:
            self._calibrate(runner)
            save_resumable_checkpoint(runner, runner.epoch, runner.iter)
        if runner.val_loop is not None:
            runner.logger.info(
                'The resumed checkpoint is already trained; validating it.')
            runner.val_loop.run()

    def _calibrate(self, runner: Runner) -> None:
        students = get_detector(runner)
        # Set apart before the run, in `before_run`.
        loader = build_single_image_loader(
            runner, self._held_out)  # type: ignore[arg-type]
        fit_statistics(students, with_progress_bar(loader, 'Calibrating'),
                       [(scale.score_statistics, scale)
                        for scale in students.scales.values()])
