from mmengine.dist import all_reduce_params, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from mmad.registry import HOOKS


@HOOKS.register_module()
class SyncNormHook(Hook):
    """Average the running statistics of batch normalization over processes.

    Each process computes them from its own images. At the end of an epoch,
    before the checkpoint and the validation, they are replaced by their mean,
    so that all processes predict the same. Layers in evaluation mode and
    other buffers are not changed, unlike with the ``SyncBuffersHook`` of
    MMEngine.
    """

    priority = 'NORMAL'

    def after_train_epoch(self, runner: Runner) -> None:
        if get_world_size() == 1:
            return
        norms = [
            module for module in runner.model.modules()
            if isinstance(module, _BatchNorm) and module.training
            and module.track_running_stats
        ]
        if norms:
            all_reduce_params([
                statistic for norm in norms
                for statistic in (norm.running_mean, norm.running_var)
            ],
                              op='mean')
