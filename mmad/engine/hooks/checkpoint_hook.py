from pathlib import Path

from mmengine.hooks import CheckpointHook as _CheckpointHook
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop

from mmad.errors import InputError
from mmad.models import FitDetector
from mmad.registry import HOOKS

from .hook_utils import (
    get_detector,
    get_fit_state,
    resumed_after_training,
)
from .metric_rules import GREATER_KEYS
from .runner_check import check_runner


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """Save checkpoints, but none from which nothing could be predicted.

    It extends the hook of MMEngine:

    - Before training, it refuses a run that could not end with a fitted
      checkpoint; see :func:`~mmad.engine.check_runner`.
    - A :class:`~mmad.models.FitDetector` is saved only while it is fitted,
      and at the end of training no model is saved that is not fitted.
    - It knows that higher values of all metrics of mmad are better.
    - If training is stopped early, the last state is saved.
    - A run that is resumed from its last checkpoint, with nothing left to
      train or fit, is validated.
    - Of the earlier checkpoints that a resumed checkpoint names, it removes
      only those in its own folder.

    Every runner with the default scope ``mmad`` uses this hook.

    Raises:
        InputError: If the run could not end with a fitted checkpoint, or
            ``out_dir`` is not a folder.
    """

    best_ckpt_path: str | None
    best_ckpt_path_dict: dict[str, str | None]

    _default_greater_keys = (
        _CheckpointHook._default_greater_keys + GREATER_KEYS)

    def before_run(self, runner: Runner) -> None:
        # The loop is built only if the runner is about to train.
        if not isinstance(runner._train_loop, BaseLoop):
            return
        check_runner(runner)
        try:
            name = self.filename_tmpl.format(1)
        except (AttributeError, IndexError, KeyError, ValueError) as error:
            raise InputError(
                f'`filename_tmpl` of the CheckpointHook is '
                f'{self.filename_tmpl!r}, but must have one placeholder for a '
                'number, as in "epoch_{}.pth".') from error
        if '..' in Path(name).parts or Path(name).is_absolute():
            raise InputError(
                f'`filename_tmpl` of the CheckpointHook, '
                f'"{self.filename_tmpl}", leads out of the folder of the '
                'checkpoints; name another folder with `out_dir`.')
        if self.out_dir is not None and '://' not in str(self.out_dir):
            try:
                Path(self.out_dir).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f'`out_dir` of the CheckpointHook, "{self.out_dir}", '
                    f'cannot be created or is not a folder '
                    f'({error.strerror}); choose another folder.') from error

    def before_train(self, runner: Runner) -> None:
        # This comes from the resumed checkpoint, which is not trusted.
        info = runner.message_hub.runtime_info
        steps = info.get('keep_ckpt_ids', [])
        if not isinstance(steps, list) or not all(
                isinstance(step, int) for step in steps):
            del info['keep_ckpt_ids']
        super().before_train(runner)
        self._is_complete = resumed_after_training(runner)
        if self.save_best is None:
            return
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = self._own_file(self.best_ckpt_path)
        else:
            self.best_ckpt_path_dict = {
                name: self._own_file(path)
                for name, path in self.best_ckpt_path_dict.items()
            }

    def _own_file(self, path: object) -> str | None:
        """Return a path if it is ``best_*.pth`` in the folder, else None."""
        if not isinstance(path, str):
            return None
        name = Path(path).name
        is_own = (
            name.startswith('best_') and name.endswith('.pth')
            and path == self.file_backend.join_path(self.out_dir, name))
        return path if is_own else None

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        for name in self.save_best or []:
            if metrics and name != 'auto' and name not in metrics:
                raise InputError(
                    f'`save_best` of the CheckpointHook names "{name}", but '
                    f'the metrics are {", ".join(metrics)}.')
        super().after_val_epoch(runner, metrics)

    def after_train(self, runner: Runner) -> None:
        loop = runner.train_loop
        if self.save_last and getattr(loop, 'stop_training', False):
            step = loop.epoch if self.by_epoch else loop.iter
            name = self.filename_tmpl.format(step)
            if self.last_ckpt != self.file_backend.join_path(
                    self.out_dir, name):
                self._save_checkpoint_with_step(
                    runner, step, dict(epoch=loop.epoch, iter=loop.iter))
        super().after_train(runner)
        if self._is_complete and runner.val_loop is not None:
            runner.logger.info(
                'The resumed checkpoint is complete; validating it.')
            runner.val_loop.run()

    def _save_checkpoint(self, runner: Runner) -> None:
        model = get_detector(runner)
        is_last = (
            self.is_last_train_epoch(runner)
            if self.by_epoch else self.is_last_train_iter(runner))
        if get_fit_state(model) is None or model.is_fitted:
            super()._save_checkpoint(runner)
        elif is_last:
            raise InputError(
                f'{type(model).__name__} is not fitted at the end of training '
                'and was not saved; check that `custom_hooks` has the hook of '
                'the method, and that training goes through all images.')
        elif isinstance(model, FitDetector):
            runner.logger.info(
                'No checkpoint was saved, since the model is not fitted yet.')
        else:
            super()._save_checkpoint(runner)

    def _publish_model(self, runner: Runner, ckpt_path: str | None) -> None:
        # There is no best checkpoint of a metric that has always been NaN.
        if ckpt_path is not None:
            super()._publish_model(runner, ckpt_path)

    def _init_rule(self, rules: list, key_indicators: list[str]) -> None:
        try:
            super()._init_rule(rules, key_indicators)
        except ValueError as error:
            raise InputError(
                f'`save_best` of the CheckpointHook is {key_indicators}, but '
                'it is not known for all of them whether more or less is '
                'better; set `rule` to "greater" or "less".') from error
