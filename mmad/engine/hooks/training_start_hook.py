from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmad.models import FitDetector
from mmad.registry import HOOKS

from .hook_utils import get_detector, get_fit_state


@HOOKS.register_module()
class TrainingStartHook(Hook):
    """Tell a model that is trained by gradients how long an epoch is.

    A model such as MKD counts as fitted after one epoch of batches. A resumed
    training continues counting, unless it starts its first epoch again. Models
    that are not trained by gradients are not changed.
    """

    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        loop = runner.train_loop
        # A resumed run continues at an iteration, or at the start of an epoch.
        first_epoch = isinstance(loop, EpochBasedTrainLoop) and loop.epoch == 0
        model = get_detector(runner)
        if get_fit_state(model) is None or isinstance(model, FitDetector):
            return
        if loop.iter == 0 or first_epoch:
            model.begin_training(len(loop.dataloader))
