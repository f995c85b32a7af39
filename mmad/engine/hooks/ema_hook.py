from mmengine.hooks import EMAHook as _EMAHook
from mmengine.runner import Runner

from mmad.registry import HOOKS


@HOOKS.register_module()
class EMAHook(_EMAHook):
    """MMEngine's hook, for models whose buffers change their size.

    A model of mmad is signed once there is something to predict with, by a
    buffer that was empty before. The averaged model follows it, as it does
    with all buffers unless ``update_buffers`` is set.

    It is for methods that are trained by gradients and nothing else; what is
    fitted or calibrated behind the training would not go with the averaged
    weights, so a run of these ends at the start.
    """

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        self._follow_buffers()
        super().after_train_iter(runner, *args, **kwargs)

    def before_val_epoch(self, runner: Runner) -> None:
        self._follow_buffers()
        super().before_val_epoch(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        self._follow_buffers()
        super().before_test_epoch(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # SyncNormHook has changed them since the last iteration.
        self._follow_buffers()
        super().before_save_checkpoint(runner, checkpoint)

    def _follow_buffers(self) -> None:
        """Take over the buffers that are not averaged."""
        averaged = self.ema_model.module
        for ours, theirs in zip(
                averaged.modules(), self.src_model.modules(), strict=True):
            for name, buffer in theirs.named_buffers(recurse=False):
                old = getattr(ours, name)
                if old.shape != buffer.shape:
                    setattr(ours, name, buffer.detach().clone().to(old.device))
                elif not (self.ema_model.update_buffers
                          and buffer.is_floating_point()):
                    old.copy_(buffer)
        if self.ema_model.update_buffers:
            self.ema_model.avg_parameters = averaged.state_dict()
