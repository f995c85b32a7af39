from mmengine.hooks import EMAHook as _EMAHook
from mmengine.runner import Runner

from mmad.registry import HOOKS


@HOOKS.register_module()
class EMAHook(_EMAHook):
    """Keep an exponential moving average of the weights of a model.

    It extends the hook of MMEngine to models whose buffers change their size:
    the fingerprint of a model is a buffer that is empty until the model is
    fitted. The averaged model copies all buffers of the model, unless
    ``update_buffers`` is set.

    The hook is for methods that are only trained by gradients. What other
    methods fit or calibrate after training would not match the averaged
    weights, so such a run is refused at the start.
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
        # SyncNormHook has changed the buffers since the last iteration.
        self._follow_buffers()
        super().before_save_checkpoint(runner, checkpoint)

    def _follow_buffers(self) -> None:
        """Copy the buffers that are not averaged to the averaged model."""
        averaged = self.ema_model.module
        for target, source in zip(
                averaged.modules(), self.src_model.modules(), strict=True):
            for name, buffer in source.named_buffers(recurse=False):
                old = getattr(target, name)
                if old.shape != buffer.shape:
                    setattr(target, name,
                            buffer.detach().clone().to(old.device))
                elif not (self.ema_model.update_buffers
                          and buffer.is_floating_point()):
                    old.copy_(buffer)
        if self.ema_model.update_buffers:
            self.ema_model.avg_parameters = averaged.state_dict()
