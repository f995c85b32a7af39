from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.registry import HOOKS

from .stages import (
    detector_of,
    progress,
    save_stage,
    stage_loader,
    validation_is_due,
)


@HOOKS.register_module()
class CalibrationHook(Hook):
    """Calibrates Uninformed Students on normal images kept from training.

    Mean and standard deviation of regression error and predictive variance
    are streamed after each epoch that a validation follows, and after the
    last, before the checkpoint is written. They end with the next epoch, so
    that checkpoints in between are not calibrated and refuse to predict.

    After the last epoch the checkpoint is written before the calibration too:
    a run that is resumed from there calibrates, saves and validates.

    Raises:
        InputError: No images are kept; see ``calibration`` of
            :class:`~mmad.datasets.AnomalyDataset`.
    """

    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        self._loader = stage_loader(runner, 'calibration')
        detector_of(runner).check_schedule(runner.max_epochs, [
            epoch for epoch in range(1, runner.max_epochs)
            if self._is_validated(runner, epoch)
        ])
        self._resumed_after_training = runner.epoch >= runner.max_epochs

    def before_train_epoch(self, runner: Runner) -> None:
        detector_of(runner).forget_calibration()

    def after_train_epoch(self, runner: Runner) -> None:
        epoch = runner.epoch + 1
        if epoch == runner.max_epochs:
            save_stage(runner, epoch, runner.iter)
            self._calibrate(runner)
        elif self._is_validated(runner, epoch):
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

    @staticmethod
    def _is_validated(runner: Runner, epoch: int) -> bool:
        return (runner.val_loop is not None
                and validation_is_due(runner.train_loop, epoch))

    def _calibrate(self, runner: Runner) -> None:
        detector_of(runner).calibrate(
            progress(self._loader, 'Calibrating'),
            len(self._loader.dataset))
