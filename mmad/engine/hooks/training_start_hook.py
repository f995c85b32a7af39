from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmad.models import FitDetector
from mmad.registry import HOOKS

from .stages import detector_of, fit_state_of


@HOOKS.register_module()
class TrainingStartHook(Hook):
    """Tells a model that is trained by gradients what an epoch is.

    A model like MKD is fitted once it was trained with so many batches. A
    resumed training goes on counting, except where it begins its first epoch
    anew. Other models are left alone.
    """

    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        loop = runner.train_loop
        # Iterations go on where they stopped, epochs begin anew.
        first_epoch = isinstance(loop, EpochBasedTrainLoop) and loop.epoch == 0
        model = detector_of(runner)
        if fit_state_of(model) is None or isinstance(model, FitDetector):
            return
        if loop.iter == 0 or first_epoch:
            model.begin_training(len(loop.dataloader))
