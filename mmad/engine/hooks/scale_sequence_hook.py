import math

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.errors import InputError
from mmad.registry import HOOKS

from .hook_utils import get_detector, validated_epochs


@HOOKS.register_module()
class ScaleSequenceHook(Hook):
    """Train the scales of Uninformed Students one after the other.

    Each scale is trained for an equal share of the epochs. This takes less
    memory than training all scales in each step.

    Raises:
        InputError: If there are fewer epochs than scales, or a validation is
            due before the last scale has been trained.
    """

    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        number, epochs = len(get_detector(runner).scales), runner.max_epochs
        if epochs < number:
            raise InputError(
                f'`train_cfg.max_epochs` is {epochs}, but {number} scales in '
                'sequence need at least an epoch each; raise it.')
        begun = math.ceil((number - 1) * epochs / number)
        early = [epoch for epoch in validated_epochs(runner) if epoch <= begun]
        if early:
            raise InputError(
                f'a validation is due after epoch {early[0]}, but with the '
                f'ScaleSequenceHook the last scale is first trained in epoch '
                f'{begun + 1}; set `train_cfg.val_interval={epochs}`.')

    def before_train_epoch(self, runner: Runner) -> None:
        students = get_detector(runner)
        names = list(students.scales)
        students.active_scales = [
            names[runner.epoch * len(names) // runner.max_epochs]
        ]
