import logging
import re
import sys
from types import FrameType
from typing import TextIO

from mmengine.logging.logger import FilterDuplicateWarning

# Of MMEngine's messages, those that a user waits for: everything of some
# modules, and beginnings of others.
_TOLD_MODULES = ('mmengine.hooks.early_stopping_hook',
                 'mmengine.hooks.profiler_hook')
_TOLD = ('The best checkpoint', 'resumed epoch', 'LR is set based on')
# Of its warnings, those that say nothing to a user: what it calls in itself
# and will not call in future, and defaults that do not apply.
_NOISE = re.compile(r'deprecated|param_scheduler` is True|has no metainfo')
_TIMES = re.compile(r'(\s)(data_time|time|memory): \S+')


class TerminalHandler(logging.StreamHandler):
    """Shows on the terminal what a person wants to know of a run.

    This is every message of mmad and of the user's own code; of MMEngine's
    messages it is the progress of a training, the best checkpoint, warnings
    that concern the run and errors. Everything else is for the log file.

    A record with the attribute ``quiet`` is not shown.

    Attributes:
        replaced (set[str]): Methods of MMEngine's ``LoggerHook`` whose lines
            are not shown, since bars or a table take their place.
        has_begun (bool): Whether what the data sets took has been shown, so
            that it need not be shown again.

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
        """The present standard output, above a bar if one is shown."""
        return sys.stdout

    def format(self, record: logging.LogRecord) -> str:
        """The message alone; a line of progress without its timings."""
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
    """The module that the message being handled comes from."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get('__name__'))
        if not any(
                _is_of(package, name)
                for package in (__name__, 'logging', 'mmengine.logging')):
            return name
        frame = frame.f_back
    return ''
