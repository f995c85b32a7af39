from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from mmengine.dist import master_only
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch import nn

from mmad.terminal import say, shown_path, use_terminal
from mmad.utils.atomic_files import write_atomically
from mmad.utils.config_text import config_text
from mmad.utils.terminal_handler import TerminalHandler

from .hooks import ProgressHook, ReportHook


class ToolRunner(Runner):
    """The runner of the command-line tools, which is quiet on the terminal.

    It computes and writes the same as MMEngine's runner. All messages of a
    run go to its log file. :func:`~mmad.terminal.open_terminal` decides which
    of them the terminal shows. In the log and in the work directory, the
    config contains each pipeline only once.
    """

    _terminals: list[TerminalHandler]

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build the logger of the run and connect it to the terminal."""
        logger = super().build_logger(*args, **kwargs)
        self._terminals = use_terminal(logger)
        self._config_text = config_text(self.cfg)

        def shorten_config(record):
            # The runner offers no other way to change how it logs its config.
            if str(record.msg).startswith('Config:\n'):
                record.msg = f'Config:\n{self._config_text}'
            return True

        logger.addFilter(shorten_config)
        return logger

    def train(self) -> nn.Module:
        """Train the model, and close its progress bar however it ends."""
        try:
            return super().train()
        finally:
            ProgressHook.close()

    def test(self) -> dict:
        """Test the model, and close its progress bar however it ends."""
        try:
            return super().test()
        finally:
            ProgressHook.close()

    def register_hooks(self, *args, **kwargs) -> None:
        """Register the hooks, and hide the log lines that they replace."""
        super().register_hooks(*args, **kwargs)
        hook_types = tuple(map(type, self.hooks))
        for terminal in self._terminals:
            if ProgressHook in hook_types:
                terminal.replaced |= {'after_val_iter', 'after_test_iter'}
                if not self.optim_wrapper:
                    terminal.replaced.add('after_train_iter')
            if ReportHook in hook_types:
                terminal.replaced |= {'after_val_epoch', 'after_test_epoch'}

    @property
    def config_path(self) -> Path:
        """Path of the file that the config of this run is written to."""
        name = Path(self.cfg.filename or '').name or f'{self.timestamp}.py'
        return Path(self.work_dir, name)

    def say_output_paths(self) -> None:
        """Log the folder of the results and the path of the log file."""
        say('Results', shown_path(self.work_dir))
        say('Log', shown_path(self.logger.log_file))

    def say_metrics_path(self) -> None:
        """Log the path of the file with the metrics, if a hook writes one."""
        path = Path(self.work_dir, 'metrics.json')
        if path.is_file() and any(
                isinstance(hook, ReportHook) for hook in self.hooks):
            say('Metrics', shown_path(path))

    @master_only
    def dump_config(self) -> None:
        """Write the config to the work directory."""
        if self.config_path.suffix == '.py':
            write_atomically(self.config_path, self._config_text.encode())
        else:
            super().dump_config()

    def load_checkpoint(self, *args, **kwargs) -> dict:
        """Load a checkpoint without the line that MMEngine prints."""
        if not self._terminals:
            return super().load_checkpoint(*args, **kwargs)
        printed = StringIO()
        try:
            with redirect_stdout(printed):
                return super().load_checkpoint(*args, **kwargs)
        finally:
            for line in printed.getvalue().splitlines():
                if not line.startswith('Loads checkpoint by'):
                    print(line)
