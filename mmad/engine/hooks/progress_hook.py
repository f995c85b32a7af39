import atexit
from typing import ClassVar

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from mmad.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show a progress bar while a loop goes over images.

    The first process shows a bar for each validation and test. It also shows
    one for each epoch of a method without an optimizer, which extracts
    features in that epoch. During training by gradients, the ``LoggerHook`` of
    MMEngine logs the progress instead. If the output is not a terminal, only
    one line appears at the end of each loop.
    """

    # The bar must be closed before another hook shows a bar of its own.
    priority = 'VERY_HIGH'

    # That of a run which an exception ended is closed by the next one.
    _bar: ClassVar[Progress | None] = None

    def before_train_epoch(self, runner: Runner) -> None:
        """Open the bar of a pass that extracts features."""
        self.close()
        if not runner.optim_wrapper:
            self._open('Extracting features', len(runner.train_dataloader))

    def before_val_epoch(self, runner: Runner) -> None:
        """Open the bar of a validation."""
        self._open('Validating', len(runner.val_dataloader))

    def before_test_epoch(self, runner: Runner) -> None:
        """Open the bar of a test."""
        self._open('Testing', len(runner.test_dataloader))

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Move the bar."""
        self._advance()

    def after_val_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Move the bar."""
        self._advance()

    def after_test_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Move the bar."""
        self._advance()

    def after_train_epoch(self, runner: Runner) -> None:
        """Close the bar."""
        self.close()

    def after_val_epoch(self, runner: Runner, *args, **kwargs) -> None:
        """Close the bar."""
        self.close()

    def after_test_epoch(self, runner: Runner, *args, **kwargs) -> None:
        """Close the bar."""
        self.close()

    @staticmethod
    def close() -> None:
        """Close the bar, if there is one, and restore the terminal."""
        if ProgressHook._bar is not None:
            ProgressHook._bar.stop()
            ProgressHook._bar = None

    def _open(self, title: str, total: int) -> None:
        self.close()
        if is_main_process():
            bar = Progress(
                TextColumn('{task.description}'), BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(elapsed_when_finished=True))
            self._task = bar.add_task(title, total=total)
            bar.start()
            ProgressHook._bar = bar

    def _advance(self) -> None:
        if self._bar is not None:
            self._bar.advance(self._task)


# If an exception ends a loop, the hidden cursor has to be restored.
atexit.register(ProgressHook.close)
