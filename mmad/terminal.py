"""What the tools show on the terminal and what goes to the log file only.

This is for programs, not for libraries: it changes what Python's warnings
show in the whole process.
"""
import logging
import sys
import warnings
from collections.abc import Callable
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import TYPE_CHECKING

from mmad.errors import printable

if TYPE_CHECKING:
    from mmengine.logging import MMLogger

    from mmad.utils.terminal_handler import TerminalHandler

__all__ = ['open_terminal', 'say', 'shown_path', 'use_terminal']

# Their warnings are about their own inside, or about how they are called.
_LIBRARIES = {
    'mmcv', 'mmengine', 'numpy', 'timm', 'torch', 'torchvision', 'triton'
}
_DEPRECATIONS = (DeprecationWarning, FutureWarning, PendingDeprecationWarning)
# The logger until there is a runner with its own.
_NAME = 'tool'


def open_terminal(launcher: str = 'none', verbose: bool = False) -> None:
    """Set up what this process shows, before PyTorch is imported.

    The first process shows what
    :class:`~mmad.utils.terminal_handler.TerminalHandler` lets through, the
    others only errors. Warnings of libraries about themselves are kept for
    the log file of the run; others appear as usual, and there as well.

    Args:
        launcher (str): What started the process. Defaults to 'none'.
        verbose (bool): Show everything, as MMEngine does. Defaults to False.
    """
    # What is said before there is a log file.
    waiting = MemoryHandler(10000, flushLevel=logging.CRITICAL + 1)
    warnings.showwarning = _divide_warnings(warnings.showwarning, waiting,
                                            verbose)
    # Libraries warn while they are imported.
    from mmengine.logging import MMLogger

    from mmad.utils.setup_env import launched_rank
    from mmad.utils.terminal_handler import TerminalHandler

    logger = MMLogger.get_instance(_NAME)
    if launched_rank(launcher) > 0:
        logger.handlers = [TerminalHandler(logging.ERROR)]
    elif not verbose:
        logger.handlers = [TerminalHandler()]
    logger.handlers.append(waiting)


def use_terminal(logger: 'MMLogger') -> 'list[TerminalHandler]':
    """Let the logger of a run show what :func:`open_terminal` has set up.

    Its log file begins with what has been said so far.

    Args:
        logger (MMLogger): Of a runner, with a log file.

    Returns:
        list[TerminalHandler]: What shows its messages, at its level; nothing
        if they are not held back.
    """
    from mmengine.logging import MMLogger

    from mmad.utils.terminal_handler import TerminalHandler

    if not MMLogger.check_instance_created(_NAME):
        return []
    before = MMLogger.get_instance(_NAME).handlers
    files = [
        handler for handler in logger.handlers
        if isinstance(handler, logging.FileHandler)
    ]
    for waiting in before:
        if isinstance(waiting, MemoryHandler) and files:
            waiting.setTarget(files[0])
            waiting.flush()
            # From now on each warning at once.
            waiting.flushLevel = logging.NOTSET
    terminals = [
        handler for handler in before if isinstance(handler, TerminalHandler)
    ]
    if terminals:
        for terminal in terminals:
            terminal.setLevel(logger.handlers[0].level)
            terminal.has_begun = True
        logger.handlers = [*terminals, *files]
    return terminals


def say(what: str, text: object) -> None:
    """Log a line such as ``Config: PATH``."""
    from mmengine.logging import MMLogger

    MMLogger.get_current_instance().info(printable(f'{what}: {text}'))


def shown_path(path: str | Path) -> str:
    """A path as short as it can be typed in the current folder."""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here) if here in path.parents else path)


def _divide_warnings(usual: Callable, log: logging.Handler,
                     verbose: bool) -> Callable:
    """A ``showwarning`` that logs all, and shows what is not a library's."""

    def show(message, category, filename, lineno, file=None, line=None):
        is_noise = issubclass(category,
                              _DEPRECATIONS) or _is_of_library(filename)
        if verbose or not is_noise or file is not None:
            usual(message, category, filename, lineno, file, line)
        text = warnings.formatwarning(message, category, filename, lineno,
                                      line)
        log.handle(
            logging.LogRecord('warnings', logging.WARNING, filename, lineno,
                              text.strip(), None, None))

    return show


def _is_of_library(filename: str) -> bool:
    """Whether a file is one of a library, and not in a folder of that name."""
    path = Path(filename)
    for place in ('site-packages', 'dist-packages'):
        if place in path.parts:
            return path.parts[path.parts.index(place) + 1] in _LIBRARIES
    sources = (
        getattr(sys.modules.get(name), '__file__', None)
        for name in _LIBRARIES)
    return any(
        source is not None and Path(source).parent in path.parents
        for source in sources)
