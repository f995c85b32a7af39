import math

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.errors import InputError
from mmad.registry import HOOKS

from .stages import detector_of, validated_epochs


@HOOKS.register_module()
class ScaleSequenceHook(Hook):
    """Trains the scales of Uninformed Students one after the other.

    Each gets an equal share of the epochs, which takes less memory than to
    train all in each step.

    Raises:
        InputError: A scale has no epoch, or none yet at a validation.
    """

    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        number, epochs = len(detector_of(runner).scales), runner.max_epochs
        if epochs < number:
            raise InputError(
                f'`train_cfg.max_epochs` is {epochs}, but {number} scales in '
                'sequence need at least an epoch each.')
        begun = math.ceil((number - 1) * epochs / number)
        early = [epoch for epoch in validated_epochs(runner) if epoch <= begun]
        if early:
            raise InputError(
                f'a validation is due after epoch {early[0]}, but with the '
                f'ScaleSequenceHook the last scale is first trained in epoch '
                f'{begun + 1}; set `train_cfg.val_interval={epochs}`.')

    def before_train_epoch(self, runner: Runner) -> None:
        students = detector_of(runner)
        names = list(students.scales)
        students.active_scales = [
            names[runner.epoch * len(names) // runner.max_epochs]
        ]
