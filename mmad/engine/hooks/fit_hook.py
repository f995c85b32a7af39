import os

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.errors import InputError
from mmad.registry import HOOKS
from mmad.utils.packed_names import pack_names

from .calibration_hook import CalibrationHook
from .hook_utils import get_detector


@HOOKS.register_module()
class FitHook(Hook):
    """Fit a :class:`~mmad.models.FitDetector` to the training images.

    Each epoch is one pass over the images. With its priority NORMAL, the hook
    runs before the checkpoint is written and before the validation. If a
    resumed checkpoint is already fitted, it is only validated.

    A checkpoint names the images that were fitted, in the order of their
    numbers, as ``meta['fitted_images']``, in one tensor that
    :func:`~mmad.utils.packed_names.unpack_names` reads.

    Raises:
        InputError: ``max_epochs`` is not the number of passes that the
            detector takes, or something to fit is no attribute of it.
    """

    priority = 'NORMAL'

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
        self._resumed_after_fit = runner.epoch >= runner.max_epochs

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == 0:
            loader = runner.train_loop.dataloader
            get_detector(runner).begin_fit(
                len(loader.dataset), loader.batch_size)

    def after_train_epoch(self, runner: Runner) -> None:
        get_detector(runner).end_pass()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        names = _fitted_images(runner)
        if names:
            checkpoint['meta']['fitted_images'] = pack_names(names)

    def after_train(self, runner: Runner) -> None:
        if self._resumed_after_fit and runner.val_loop is not None:
            runner.logger.info(
                'The resumed checkpoint is already fitted; validating it.')
            runner.val_loop.run()


def _fitted_images(runner: Runner) -> list[str]:
    """Paths of the training images; none if the data set does not say."""
    dataset = runner.train_loop.dataloader.dataset
    if not hasattr(dataset, 'get_data_info'):
        return []
    names = [
        dataset.get_data_info(i).get('img_path') for i in range(len(dataset))
    ]
    if not all(isinstance(name, str) for name in names):
        return []
    return [name if '://' in name else os.path.abspath(name) for name in names]
