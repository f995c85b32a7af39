from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.errors import InputError
from mmad.registry import HOOKS

from .stages import detector_of


@HOOKS.register_module()
class FitHook(Hook):
    """Fits a :class:`~mmad.models.FitDetector` after each of its epochs.

    At NORMAL priority it comes before the checkpoint is written and before
    validation. Where a resumed run finds the fit done, only the validation
    is left, and runs.

    Raises:
        InputError: ``max_epochs`` is not the number of passes that the
            detector takes, or something to fit is no attribute of it.
    """

    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        detector = detector_of(runner)
        detector.check_modules()
        if runner.max_epochs != detector.num_passes:
            raise InputError(
                f'{type(detector).__name__} as configured is fitted in '
                f'{detector.num_passes} epoch(s), but `train_cfg.max_epochs` '
                f'is {runner.max_epochs}.')
        self._resumed_after_fit = runner.epoch >= runner.max_epochs

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == 0:
            loader = runner.train_loop.dataloader
            detector_of(runner).begin_fit(
                len(loader.dataset), loader.batch_size)

    def after_train_epoch(self, runner: Runner) -> None:
        detector_of(runner).end_pass()

    def after_train(self, runner: Runner) -> None:
        if self._resumed_after_fit and runner.val_loop is not None:
            runner.logger.info(
                'The resumed checkpoint is fitted already; validating it.')
            runner.val_loop.run()
