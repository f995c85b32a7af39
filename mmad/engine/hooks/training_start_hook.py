from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmad.models import TrainedModel
from mmad.registry import HOOKS

from .stages import detector_of


@HOOKS.register_module()
class TrainingStartHook(Hook):
    """Tells a :class:`~mmad.models.TrainedModel` what an epoch is.

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
        if isinstance(model, TrainedModel) and (loop.iter == 0 or first_epoch):
            model.begin_training(len(loop.dataloader))
