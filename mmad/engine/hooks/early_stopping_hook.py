from mmengine.hooks import EarlyStoppingHook as _EarlyStoppingHook

from mmad.errors import InputError
from mmad.registry import HOOKS

from .metric_rules import GREATER_KEYS


@HOOKS.register_module()
class EarlyStoppingHook(_EarlyStoppingHook):
    """Stop training when a metric no longer improves.

    It extends the hook of MMEngine: higher values of the metrics of mmad are
    better. When training is stopped,
    :class:`~mmad.engine.hooks.CheckpointHook` writes a last checkpoint.

    Raises:
        InputError: If ``rule`` is missing for a metric of another package.
    """

    _default_greater_keys = (
        _EarlyStoppingHook._default_greater_keys + GREATER_KEYS)

    def _init_rule(self, monitor: str) -> str:
        try:
            return super()._init_rule(monitor)
        except ValueError as error:
            raise InputError(
                f'`monitor` of the EarlyStoppingHook is "{monitor}", but it '
                'is not known whether more or less is better; set `rule` to '
                '"greater" or "less".') from error
