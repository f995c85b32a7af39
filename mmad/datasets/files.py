"""Find image files in folders."""
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from mmad.errors import InputError
from mmad.utils.safe_path import leads_outside

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
# Files of file servers and operating systems, besides names with a dot.
_SYSTEM_NAMES = {
    '@eadir', '@recycle', '@recently-snapshot', '#recycle', '#snapshot',
    '$recycle.bin', '__macosx', 'desktop.ini', 'lost+found', 'thumbs.db',
    'system volume information'
}
# Reasons why files are skipped. For hidden files there is no warning.
HIDDEN = 'hidden'
SUFFIX = 'without the suffix of an image'
DEEPER = 'in a deeper folder'

Skipped = dict[str, list[str]]


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is never data."""
    return name.startswith('.') or name.lower() in _SYSTEM_NAMES


def require_plain_name(name: str, what: str) -> str:
    """Return a name if it is a plain file name, without folders.

    Args:
        name (str): Name from data, or a category.
        what (str): Description of the name, for messages.

    Raises:
        InputError: If it is empty, ``.`` or ``..``, or has a separator.
    """
    if (not isinstance(name, str) or name in ('', '.', '..')
            or any(mark in name for mark in '/\\\0')):
        raise InputError(f'{what} must be a plain name, without folders, got '
                         f'{name!r}; correct it.')
    return name


def join_below(root: Path, name: str, what: str) -> Path:
    """Join a relative path from data to a folder without leaving it.

    Args:
        root (Path): The folder.
        name (str): Relative path with ``/``.
        what (str): Description of the path, for messages.

    Raises:
        InputError: If the path is absolute, or has a part ``..``.
    """
    parts = PurePosixPath(name or '').parts
    if (not parts or leads_outside(name) or '\\' in name or ':' in parts[0]):
        raise InputError(f'{what} must be a relative path below "{root}", '
                         f'without "..", got {name!r}; correct it.')
    return root / name


def list_images(folder: str | Path, recursive: bool = False) -> list[Path]:
    """List the image files in a folder, sorted by path.

    The arguments and errors are those of :func:`find_names`.
    """
    return [Path(name) for name in find_names(folder, recursive)[0]]


def find_names(
    folder: str | Path,
    recursive: bool = False,
    without: Iterable[str | Path] = ()
) -> tuple[list[str], Skipped]:
    """Find the image files in a folder, and the files that are skipped.

    Paths are strings, since a million path objects take ten times as long
    and as much memory.

    Links are followed, but no folder is read twice, nor any parent of the
    folder. Files whose names start with a dot and files of the system
    (``@eaDir``, ``__MACOSX``, ``Thumbs.db``) are never data.

    Args:
        folder (str | Path): Folder to search.
        recursive (bool): Also search deeper folders. Defaults to False.
        without (Iterable[str | Path]): Deeper folders that are neither
            searched nor reported.

    Returns:
        tuple[list[str], Skipped]: The paths of the images, sorted, or none if
        the folder is missing; and those of the skipped files, by reason.

    Raises:
        InputError: If a folder cannot be read, or something with the suffix
            of an image is not a regular file.
    """
    start = str(Path(folder))
    names, skipped = _find(start, recursive, without, True)
    skipped = {why: sorted(paths) for why, paths in skipped.items() if paths}
    if start == os.curdir:
        # As in path objects.
        names = [relative_name(name, start) for name in names]
        skipped = {
            why: [relative_name(path, start) for path in paths]
            for why, paths in skipped.items()
        }
    return names, skipped


def list_names(folder: str | Path,
               without: Iterable[str | Path] = (),
               strict: bool = True) -> list[str]:
    """List the image files in a folder and below it, sorted by path.

    Args:
        folder (str | Path): Folder to search.
        without (Iterable[str | Path]): Deeper folders that are not searched.
        strict (bool): Refuse what has the suffix of an image and is not a
            regular file, such as a broken link; otherwise it is listed.
            Defaults to True.

    Raises:
        InputError: As in :func:`find_names`.
    """
    return _find(str(folder), True, without, strict)[0]


def _find(start: str, recursive: bool, without: Iterable[str | Path],
          strict: bool) -> tuple[list[str], Skipped]:
    found, skipped = [], defaultdict(list)
    if not os.path.isdir(start):
        return [], {}
    left_out = {file_identity(path) for path in without if os.path.isdir(path)}
    home = Path(os.path.realpath(start))
    seen = {file_identity(path) for path in (home, *home.parents)}
    pending = [start]
    links: list[str] = []
    while pending or links:
        if not pending:
            # Follow links last, so that a folder is read at its own path.
            links.sort(reverse=True)
            current = links.pop()
            if file_identity(current) in seen:
                skipped['linked to a folder that is read '
                        'elsewhere'].append(current)
                continue
            seen.add(file_identity(current))
        else:
            current = pending.pop()
        for entry in _entries(current):
            path = entry.path
            if is_hidden(entry.name):
                skipped[HIDDEN].append(path)
            elif _is_folder(entry):
                if file_identity(path) in left_out:
                    continue
                if not recursive:
                    skipped[DEEPER] += list_names(path)
                elif entry.is_symlink():
                    links.append(path)
                else:
                    seen.add(file_identity(path))
                    pending.append(path)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                if strict:
                    _require_file(entry)
                found.append(path)
            else:
                skipped[SUFFIX].append(path)
    found.sort()
    return found, skipped


def list_folders(folder: Path) -> list[str]:
    """List the names of the folders in a folder, sorted.

    Hidden folders and links to a parent of the folder are skipped.
    """
    if not folder.is_dir():
        return []
    home = Path(os.path.realpath(folder))
    around = {file_identity(path) for path in (home, *home.parents)}
    return sorted(
        entry.name for entry in _entries(folder)
        if _is_folder(entry) and not is_hidden(entry.name)
        and file_identity(entry.path) not in around)


def add_skipped(skipped: Skipped, *others: Skipped) -> Skipped:
    """Add skipped files to those in ``skipped``, in place, by reason."""
    for other in others:
        for why, paths in other.items():
            if paths:
                skipped.setdefault(why, []).extend(paths)
    return skipped


def file_identity(path: str | Path) -> tuple[int, int]:
    """Return the device and inode of a file, the same for every path to it."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def relative_name(path: str, folder: str | Path) -> str:
    """Return the path relative to a folder that it is below."""
    return path.removeprefix(os.path.join(folder, ''))


def relative_stem(path: str, folder: str | Path) -> str:
    """Return the path relative to a folder, with ``/``, without a suffix."""
    stem, _ = os.path.splitext(relative_name(path, folder))
    return stem.replace(os.sep, '/')


def draw_subset(number: int, share: float, seed: int) -> set[int]:
    """Draw a random share of ``range(number)``, at least one element."""
    order = np.random.default_rng(seed).permutation(number)
    number = max(1, min(number - 1, round(share * number)))
    return set(order[:number].tolist())


def _entries(folder: str | Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise InputError(f'the folder "{folder}" cannot be read '
                         f'({error.strerror}); correct its permissions or '
                         'remove it.') from error


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _require_file(entry: os.DirEntry) -> None:
    try:
        if entry.is_file():
            return
        os.stat(entry.path)
        problem = 'is not a regular file'
    except OSError as error:
        problem = ('is a link that leads nowhere' if entry.is_symlink() else
                   f'cannot be read ({error.strerror})')
    raise InputError(f'image "{entry.path}" {problem}; replace or remove it.')


def require_folder_or_nothing(folder: Path | None) -> None:
    """Check that a path is a folder or does not exist.

    Raises:
        InputError: If something else has this path.
    """
    if folder is not None and os.path.lexists(folder) and not folder.is_dir():
        what = 'a link to nothing' if folder.is_symlink() else 'no folder'
        raise InputError(f'"{folder}" is {what}, but the masks should be '
                         'there; correct or remove it.')
