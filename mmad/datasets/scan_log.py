"""The line of the log that says which files a data set took."""
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmengine.logging import MMLogger, print_log

from mmad.utils import printable

from .files import HIDDEN, Skipped

_MOST_NAMES = 5
_said: set[tuple[str, str]] = set()


def log_scan(name: str, folder: Path, entries: Iterable[Mapping],
             skipped: Skipped) -> None:
    """Log which files were taken, which were left out, and why, in one line.

    Args:
        name (str): Name of the data set, and its split.
        folder (Path): Files below it are named by their path in it.
        entries (Iterable[Mapping]): The annotations of the images.
        skipped (Skipped): Files that were left out, by reason.
    """
    entries = list(entries)
    numbers = Counter(entry['defect_type'] for entry in entries
                      if 'defect_type' in entry)
    taken = [f'{number} {name}' for name, number in numbers.items()]
    if len(taken) > 2 * _MOST_NAMES:
        taken = [
            *taken[:_MOST_NAMES],
            f'{len(taken) - _MOST_NAMES} more defect types'
        ]
    line = f'{name} of "{folder}": took {len(entries)} images'
    if taken:
        line += f' ({", ".join(taken)})'
    for why, paths in skipped.items():
        line += (f'; left out {len(paths)} {why} ('
                 f'{_names(paths, folder)})')
    is_warning = any(why != HIDDEN for why in skipped)
    log_once(line + '.', logging.WARNING if is_warning else logging.INFO)


def log_once(line: str, level: int) -> None:
    """Log a line once per logger, since data sets are built several times."""
    line = printable(line)
    logger = MMLogger.get_current_instance().instance_name
    if (logger, line) not in _said:
        _said.add((logger, line))
        print_log(line, 'current', level)


def _names(paths: Iterable[Path], folder: Path) -> str:
    names = []
    for path in paths:
        inside = folder in path.parents
        names.append(str(path.relative_to(folder) if inside else path))
    more = ', ...' if len(names) > _MOST_NAMES else ''
    return ', '.join(names[:_MOST_NAMES]) + more
