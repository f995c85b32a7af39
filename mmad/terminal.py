"""Decide what the tools show on the terminal and what they only log.

This module is for programs, not for libraries, since it changes in the whole
process which of Python's warnings are shown.
"""
import logging
import re
import sys
import warnings
from collections.abc import Callable
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import TYPE_CHECKING

from mmad.errors import printable
from mmad.shipped_files import find_config

if TYPE_CHECKING:
    from mmengine.logging import MMLogger

    from mmad.utils.terminal_handler import TerminalHandler

__all__ = [
    'open_terminal', 'say', 'say_config', 'shown_path', 'tool_command',
    'use_terminal'
]

# Warnings raised in these packages are about their internals, or about how
# they are called.
_LIBRARIES = {
    'mmcv', 'mmengine', 'numpy', 'timm', 'torch', 'torchvision', 'triton'
}
_DEPRECATIONS = (DeprecationWarning, FutureWarning, PendingDeprecationWarning)
# Name of the logger that is used until a runner builds its own.
_NAME = 'tool'


def open_terminal(launcher: str = 'none', verbose: bool = False) -> None:
    """Set up what this process shows, before PyTorch is imported.

    The first process shows the messages that
    :class:`~mmad.utils.terminal_handler.TerminalHandler` accepts, the other
    processes show only errors. Warnings of libraries about themselves go to
    the log file of the run only; other warnings are shown as usual and go to
    the log file too.

    Args:
        launcher (str): Launcher that started the process. Defaults to 'none'.
        verbose (bool): Show everything, as MMEngine does. Defaults to False.
    """
    # Keeps the messages from before there is a log file.
    waiting = MemoryHandler(10000, flushLevel=logging.CRITICAL + 1)
    warnings.showwarning = _make_showwarning(warnings.showwarning, waiting,
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
    """Connect the logger of a run to the terminal of :func:`open_terminal`.

    The messages so far are written to the log file of the run.

    Args:
        logger (MMLogger): Logger of a runner, with a log file.

    Returns:
        list[TerminalHandler]: Handlers that show its messages, at its level;
        an empty list if the terminal shows everything.
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
            # From now on, write each warning at once.
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


def say_config(config: str, data: str | None) -> None:
    """Log the files that the config of a run comes from.

    Args:
        config (str): Path or name of the config.
        data (str, optional): Path or name of another data set.
    """
    from mmad.utils.data_options import find_data_set

    say('Config', shown_path(find_config(config)))
    if data is not None:
        say('Data set', shown_path(find_data_set(data)))


def shown_path(path: str | Path) -> str:
    """Return a path relative to the current folder, if it lies in there."""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here) if here in path.parents else path)


def tool_command(name: str) -> list[str]:
    """Return the words that start a tool in the way this one was started.

    Args:
        name (str): Name of the tool, such as ``'browse_dataset'``.

    Returns:
        list[str]: ``['mmad', 'browse-dataset']``, or Python and the path of
        the script.
    """
    program = sys.argv[0]
    if re.fullmatch(r'mmad [\w-]+', program):
        return ['mmad', name.replace('_', '-')]
    return ['python', str(Path(program).with_name(f'{name}.py'))]


def _make_showwarning(usual: Callable, log: logging.Handler,
                      verbose: bool) -> Callable:
    """Make a ``showwarning`` that logs all warnings and shows relevant ones.

    Deprecations and the warnings of libraries are not relevant.
    """

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
