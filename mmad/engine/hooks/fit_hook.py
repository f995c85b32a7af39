from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.errors import InputError
from mmad.registry import HOOKS
from mmad.utils.arguments import check_number
from mmad.utils.packed_names import pack_names

from .calibration_hook import CalibrationHook
from .fit_description import image_paths
from .fit_progress import FitProgress
from .hook_utils import get_detector, resumed_after_training
from .remaining_batches import skip_batches


@HOOKS.register_module()
class FitHook(Hook):
    """Fit a :class:`~mmad.models.FitDetector` to the training images.

    Each epoch is one pass over the images. With its priority NORMAL, the hook
    runs before the checkpoint is written and before the validation. If a
    resumed checkpoint is already fitted, it is only validated.

    A checkpoint names the images that were fitted, in the order of their
    numbers, as ``meta['fitted_images']``, in one tensor that
    :func:`~mmad.utils.packed_names.unpack_names` reads.

    A long fit notes its progress in ``WORK_DIR/fit_progress``, and a resumed
    run goes on from there, to the same result bit for bit. The notes are
    removed at the end of the run.

    Args:
        progress_after (float, optional): Seconds of a fit until the first
            note; None for no notes. Defaults to 600.
        progress_interval (float): Seconds from one note to the next. Defaults
            to 300.

    Raises:
        InputError: An argument is out of its range, ``max_epochs`` is not the
            number of passes that the detector takes, or something to fit is
            no attribute of it.
    """

    priority = 'NORMAL'

    def __init__(self,
                 progress_after: float | None = 600,
                 progress_interval: float = 300) -> None:
        check_number('progress_after', progress_after, low=0, optional=True)
        check_number('progress_interval', progress_interval, low=0)
        self.progress_after = progress_after
        self.progress_interval = progress_interval
        self._progress: FitProgress | None = None

    def before_train(self, runner: Runner) -> None:
        detector = get_detector(runner)
        detector.check_modules()
        if runner.max_epochs != detector.num_passes:
            raise InputError(
                f'{type(detector).__name__} as configured is fitted in '
                f'{detector.num_passes} epoch(s), but `train_cfg.max_epochs` '
                f'is {runner.max_epochs}; set it to {detector.num_passes}.')
        for module in detector.fitted_modules:
            module.prepares_leaving_out = any(
                isinstance(hook, CalibrationHook) and hook.leaves_out
                for hook in runner.hooks)
        if self.progress_after is not None:
            self._progress = FitProgress(runner, self.progress_after,
                                         self.progress_interval)
        if not resumed_after_training(runner):
            self._loader = runner.train_loop.dataloader
            detector.begin_fit(
                len(self._loader.dataset), self._loader.batch_size)
            if self._progress is not None:
                self._go_on(runner, self._progress)

    def _go_on(self, runner: Runner, progress: FitProgress) -> None:
        """Go on from the notes of an interrupted fit, if there are any."""
        if runner.cfg.get('resume'):
            if progress.resume():
                loop, done = runner.train_loop, progress.batches_done
                loop.dataloader = skip_batches(self._loader, done)
                loop._epoch = progress.passes_done
                loop._iter = loop._epoch * len(self._loader) + done
        elif progress.exists:
            runner.logger.info(
                f'In "{progress.folder}" are notes of an interrupted '
                'fit, from which --resume goes on. This fit begins anew, and '
                'will replace them.')

    def after_train_iter(self, runner: Runner, *args: Any,
                         **kwargs: Any) -> None:
        if self._progress is not None:
            self._progress.after_batch()

    def after_train_epoch(self, runner: Runner) -> None:
        runner.train_loop.dataloader = self._loader
        detector = get_detector(runner)
        if self._progress is None:
            detector.end_pass()
        else:
            with self._progress.during_finalize():
                detector.end_pass()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        names = image_paths(runner)
        if names:
            checkpoint['meta']['fitted_images'] = pack_names(names)

    def after_train(self, runner: Runner) -> None:
        if self._progress is not None:
            self._progress.remove()
