from mmengine.runner import Runner

from mmad.models.layers import FittedModule
from mmad.registry import HOOKS
from mmad.utils.progress import show_progress

from .fit_hook import FitHook
from .hook_utils import (
    build_ordered_loader,
    draw_evenly,
    fit_statistics,
    get_detector,
    resumed_after_training,
    save_resumable_checkpoint,
    validation_is_due,
)


@HOOKS.register_module()
class FitAfterTrainHook(FitHook):
    """Fit a detector whose features are trained by gradients.

    At the end of the last epoch, and of each epoch that is followed by a
    validation, the :class:`~mmad.models.FitDetector` is fitted to the
    training images, in evaluation mode and without gradients. This happens
    after :class:`~mmad.engine.hooks.SyncNormHook` and before the checkpoint
    is written. The next epoch discards the fit, since its features have
    changed, so that no checkpoint contains an outdated fit.

    Before the last fit, a checkpoint without one is written, which is
    replaced later. A run that is interrupted after it need not train again.

    What the training starts from, a
    :class:`~mmad.models.layers.FittedModule` with
    ``images_before_training``, is fitted before the first epoch, to as many
    preprocessed images.
    """

    priority = 'BELOW_NORMAL'

    def __init__(self) -> None:
        super().__init__(progress_after=None)

    def before_train(self, runner: Runner) -> None:
        detector = get_detector(runner)
        modules = [
            module for module in detector.children() if
            isinstance(module, FittedModule) and module.images_before_training
        ]
        # Weights loaded from another run contain what was fitted there.
        resumed = runner.cfg.get('resume')
        for module in modules:
            if not (resumed and module.is_fitted):
                # It refuses what could not be trained with.
                self.before_train_epoch(runner)
                dataset = draw_evenly(runner.train_loop.dataloader.dataset,
                                      module.images_before_training)
                loader = build_ordered_loader(runner, dataset)
                fit_statistics(detector, show_progress(loader, 'Aligning'),
                               [(module, lambda images: images)])
                runner.logger.info(module.summary())
        if resumed_after_training(runner) and not detector.is_fitted:
            self.before_train_epoch(runner)
            self._fit(runner)
            save_resumable_checkpoint(runner, runner.epoch, runner.iter)

    def before_train_epoch(self, runner: Runner) -> None:
        loader = runner.train_loop.dataloader
        get_detector(runner).begin_fit(len(loader.dataset), loader.batch_size)

    def after_train_epoch(self, runner: Runner) -> None:
        epoch = runner.epoch + 1
        if epoch < runner.max_epochs and not validation_is_due(
                runner.train_loop, epoch):
            return
        if epoch == runner.max_epochs:
            detector = get_detector(runner)
            # It cannot predict before it has seen the images once more.
            detector.fit_state.begin_training(
                detector.num_passes * len(runner.train_loop.dataloader))
            save_resumable_checkpoint(runner, epoch, runner.iter)
        self._fit(runner)

    def _fit(self, runner: Runner) -> None:
        detector = get_detector(runner)
        detector.eval()
        for _ in range(detector.num_passes):
            for data in show_progress(runner.train_loop.dataloader, 'Fitting'):
                detector.fit_step(data)
            detector.end_pass()
