import logging
import re
import sys
from types import FrameType
from typing import TextIO

from mmengine.logging.logger import FilterDuplicateWarning

# Messages of MMEngine that the terminal shows: all of some modules, and those
# that start with certain words.
_TOLD_MODULES = ('mmengine.hooks.early_stopping_hook',
                 'mmengine.hooks.profiler_hook')
_TOLD = ('The best checkpoint', 'resumed epoch', 'LR is set based on')
# Warnings of MMEngine that do not concern the user: its own deprecated calls,
# defaults that do not apply, and parameters that are meant to be frozen.
_NOISE = re.compile(r'deprecated|param_scheduler` is True|has no metainfo|'
                    r'is skipped since its requires_grad=False')
_TIMES = re.compile(r'(\s)(data_time|time|memory): \S+')


class TerminalHandler(logging.StreamHandler):
    """Shows the relevant messages of a run on the terminal.

    It shows all messages of mmad and of the user's own code. Of the messages
    of MMEngine, it shows the progress of training, the best checkpoint,
    errors, and warnings that concern the run. All other messages only go to
    the log file.

    A record with the attribute ``quiet`` is not shown.

    Attributes:
        replaced (set[str]): Methods of the ``LoggerHook`` of MMEngine whose
            lines are not shown, since a progress bar or a table replaces
            them.
        has_begun (bool): Whether the run has begun. The messages of the data
            sets have been shown by then and are not repeated.

    Args:
        level (int | str): The lowest level that is shown. Defaults to
            ``logging.INFO``.
    """

    def __init__(self, level: int | str = logging.INFO) -> None:
        logging.Handler.__init__(self, level)
        self.replaced: set[str] = set()
        self.has_begun = False
        self.addFilter(self._concerns_the_user)
        self.addFilter(FilterDuplicateWarning())

    @property
    def stream(self) -> TextIO:
        """The current standard output, which keeps lines above a bar."""
        return sys.stdout

    def format(self, record: logging.LogRecord) -> str:
        """Return only the message, and remove timings from progress lines."""
        text = record.getMessage().strip('\n')
        if record.exc_info:
            text += '\n' + logging.Formatter().formatException(record.exc_info)
        if record.levelno >= logging.WARNING:
            return f'{record.levelname.lower()}: {text}'
        if record.module == 'logger_hook':
            text = re.sub(r'\s{2,}', '  ', _TIMES.sub(r'\1', text)).strip()
        return text

    def _concerns_the_user(self, record: logging.LogRecord) -> bool:
        if getattr(record, 'quiet', False):
            return False
        origin = _origin()
        message = record.getMessage()
        if record.levelno >= logging.ERROR:
            return True
        if record.levelno == logging.WARNING:
            return not (_is_of('mmengine', origin) and _NOISE.search(message))
        if origin == 'mmengine.hooks.logger_hook':
            return (record.funcName not in self.replaced
                    and not message.startswith('Exp name'))
        if _is_of('mmengine', origin):
            return origin in _TOLD_MODULES or message.startswith(_TOLD)
        return not (self.has_begun and _is_of('mmad.datasets', origin))


def _is_of(package: str, module: str) -> bool:
    return module == package or module.startswith(f'{package}.')


def _origin() -> str:
    """Return the module that the message being handled comes from."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get('__name__'))
        if not any(
                _is_of(package, name)
                for package in (__name__, 'logging', 'mmengine.logging')):
            return name
        frame = frame.f_back
    return ''
