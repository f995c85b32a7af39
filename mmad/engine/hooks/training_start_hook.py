import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmad.models import FitDetector
from mmad.registry import HOOKS

from .hook_utils import get_detector, get_fit_state

# 1024 pixels, as many as most images of MVTec AD have, to 256.
_REDUCTION = 4


@HOOKS.register_module()
class TrainingStartHook(Hook):
    """Tell a model that is trained by gradients how long an epoch is.

    A model such as MKD counts as fitted after one epoch of batches. A resumed
    training continues counting, unless it starts its first epoch again. Models
    that are not trained by gradients are not changed.

    If the pipeline reduces the first image more than 4-fold, the log says
    which defects can hardly be seen then.
    """

    priority = 'NORMAL'
    _looked = False

    def before_train(self, runner: Runner) -> None:
        loop = runner.train_loop
        # A resumed run continues at an iteration, or at the start of an epoch.
        first_epoch = isinstance(loop, EpochBasedTrainLoop) and loop.epoch == 0
        model = get_detector(runner)
        if get_fit_state(model) is None or isinstance(model, FitDetector):
            return
        if loop.iter == 0 or first_epoch:
            model.begin_training(len(loop.dataloader))

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Any = None) -> None:
        if self._looked:
            return
        self._looked = True
        samples = (
            data_batch.get('data_samples')
            if isinstance(data_batch, Mapping) else None)
        if not isinstance(samples, Sequence) or not samples:
            return
        old, new = (
            samples[0].get(key) for key in ('ori_shape', 'resized_shape'))
        if old is None or new is None:
            return
        reduction = max(old[0] / new[0], old[1] / new[1])
        if reduction > _REDUCTION:
            runner.logger.info(
                f'Images of {old[1]}x{old[0]} pixels are reduced to '
                f'{new[1]}x{new[0]}, where defects narrower than about '
                f'{math.ceil(2 * reduction)} pixels can hardly be seen; for '
                'finer ones use a larger Resize, or tiles, see '
                'docs/high_resolution.md.')
