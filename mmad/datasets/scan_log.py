"""Log which files a data set uses and which it skips."""
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine.logging import MMLogger, print_log

from mmad.utils import printable

from .files import HIDDEN, Skipped, relative_name

_MOST_NAMES = 5
_logged: set[tuple[str, str]] = set()


def log_scan(name: str, folder: Path, entries: Iterable[Mapping],
             skipped: Skipped) -> None:
    """Log in one line which files were used, and which were skipped and why.

    Args:
        name (str): Name of the data set, and its split.
        folder (Path): Folder that paths of files are relative to.
        entries (Iterable[Mapping]): Annotations of the images.
        skipped (Skipped): Files that were skipped, by reason.
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
    """Log a line only once per logger, as data sets are built repeatedly."""
    line = printable(line)
    logger = MMLogger.get_current_instance().instance_name
    if (logger, line) not in _logged:
        _logged.add((logger, line))
        print_log(line, 'current', level)


def _names(paths: Sequence[str], folder: Path) -> str:
    names = [relative_name(path, folder) for path in paths[:_MOST_NAMES]]
    more = ', ...' if len(paths) > _MOST_NAMES else ''
    return ', '.join(names) + more
