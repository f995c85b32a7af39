from mmengine.dist import is_main_process
from mmengine.runner import Runner
from rich.progress import track

from mmad.registry import HOOKS

from .fit_hook import FitHook
from .stages import detector_of, validation_is_due


@HOOKS.register_module()
class FitAfterTrainHook(FitHook):
    """Fits a detector whose features are trained by gradients before.

    In each epoch that a validation follows, and in the last, the model goes
    once more over the training images, in evaluation mode and without
    gradients, for a :class:`~mmad.models.FitDetector`'s fit. This comes
    before the checkpoint and the validation, and behind
    :class:`~mmad.engine.hooks.SyncNormHook`. What was fitted to the features
    of an earlier epoch is forgotten when the next one begins, so that no
    checkpoint passes it off as a fit.
    """

    priority = 'BELOW_NORMAL'

    def before_train(self, runner: Runner) -> None:
        self._resumed_after_fit = runner.epoch >= runner.max_epochs

    def before_train_epoch(self, runner: Runner) -> None:
        loader = runner.train_loop.dataloader
        detector_of(runner).begin_fit(len(loader.dataset), loader.batch_size)

    def after_train_epoch(self, runner: Runner) -> None:
        done = runner.epoch + 1
        if done < runner.max_epochs and not validation_is_due(
                runner.train_loop, done):
            return
        detector = detector_of(runner)
        detector.eval()
        for _ in range(detector.num_passes):
            for data in track(
                    runner.train_loop.dataloader,
                    'Fitting',
                    disable=not is_main_process()):
                detector.fit_step(data)
            detector.end_pass()
