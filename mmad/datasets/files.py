"""Finding images in folders."""
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from mmad.errors import InputError
from mmad.utils.safe_path import leads_outside

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
# What file servers and systems leave behind, beside names with a dot.
_SYSTEM_NAMES = {
    '@eadir', '@recycle', '@recently-snapshot', '#recycle', '#snapshot',
    '$recycle.bin', '__macosx', 'desktop.ini', 'lost+found', 'thumbs.db',
    'system volume information'
}
# Why files are left out; hidden ones are nothing to warn of.
HIDDEN = 'hidden'
SUFFIX = 'without the suffix of an image'
DEEPER = 'in a deeper folder'

Skipped = dict[str, list[Path]]


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder of this name is never data."""
    return name.startswith('.') or name.lower() in _SYSTEM_NAMES


def plain_name(name: str, what: str) -> str:
    """Check that a name is that of a file or folder, without a path.

    Args:
        name (str): Made from data, or a category.
        what (str): What an error calls it, with its place.

    Raises:
        InputError: It is empty, ``.`` or ``..``, or has a separator.
    """
    if (not isinstance(name, str) or name in ('', '.', '..')
            or any(mark in name for mark in '/\\\0')):
        raise InputError(f'{what} must be a plain name, without folders, got '
                         f'{name!r}; correct it.')
    return name


def path_below(root: Path, name: str, what: str) -> Path:
    """Check that a path of a table lies below a folder, and join both.

    Args:
        root (Path): The folder.
        name (str): Relative path with ``/``, as the table has it.
        what (str): What an error calls it, with its place.

    Raises:
        InputError: The path is absolute, or has a part ``..``.
    """
    parts = PurePosixPath(name or '').parts
    if (not parts or leads_outside(name) or '\\' in name or ':' in parts[0]):
        raise InputError(f'{what} must be a relative path below "{root}", '
                         f'without "..", got {name!r}; correct it.')
    return root / name


def list_images(folder: str | Path, recursive: bool = False) -> list[Path]:
    """List the image files below a folder, sorted by path.

    See :func:`find_images`.
    """
    return find_images(folder, recursive)[0]


def find_images(
    folder: str | Path,
    recursive: bool = False,
    without: Iterable[Path] = ()
) -> tuple[list[Path], Skipped]:
    """Find the image files below a folder, and the files that are none.

    Links are followed, but no folder is read twice, and none that the folder
    itself lies in. Names with a dot in front and what systems leave behind
    (``@eaDir``, ``__MACOSX``, ``Thumbs.db``) are never data.

    Args:
        folder (str | Path): Where to look.
        recursive (bool): In deeper folders too. Defaults to False.
        without (Iterable[Path]): Deeper folders to leave out without a word.

    Returns:
        tuple[list[Path], Skipped]: The images, sorted by path, none if the
        folder is missing; and what was left out, by reason.

    Raises:
        InputError: A folder cannot be read, or what is named like an image is
            no regular file.
    """
    start = str(folder)
    found, skipped = [], defaultdict(list)
    if not os.path.isdir(start):
        return [], {}
    left_out = {identity(path) for path in without if os.path.isdir(path)}
    home = Path(os.path.realpath(start))
    seen = {identity(path) for path in (home, *home.parents)}
    pending = [start]
    links: list[str] = []
    while pending or links:
        if not pending:
            # Last, so that the folder itself is read where it lies.
            links.sort(reverse=True)
            current = links.pop()
            if identity(current) in seen:
                skipped['linked to a folder that is read '
                        'elsewhere'].append(Path(current))
                continue
            seen.add(identity(current))
        else:
            current = pending.pop()
        for entry in _entries(current):
            path = entry.path
            if is_hidden(entry.name):
                skipped[HIDDEN].append(Path(path))
            elif _is_folder(entry):
                if identity(path) in left_out:
                    continue
                if not recursive:
                    skipped[DEEPER] += list_images(path, recursive=True)
                elif entry.is_symlink():
                    links.append(path)
                else:
                    seen.add(identity(path))
                    pending.append(path)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                _require_file(entry)
                found.append(path)
            else:
                skipped[SUFFIX].append(Path(path))
    return ([Path(path) for path in sorted(found)], {
        why: sorted(paths)
        for why, paths in skipped.items() if paths
    })


def list_folders(folder: Path) -> list[str]:
    """List the names of the folders in a folder, sorted.

    Without hidden ones, and links to a folder that it lies in itself.
    """
    if not folder.is_dir():
        return []
    home = Path(os.path.realpath(folder))
    around = {identity(path) for path in (home, *home.parents)}
    return sorted(
        entry.name for entry in _entries(folder) if _is_folder(entry)
        and not is_hidden(entry.name) and identity(entry.path) not in around)


def add_skipped(skipped: Skipped, *others: Skipped) -> Skipped:
    """Add files that were left out to those of ``skipped``, by reason."""
    for other in others:
        for why, paths in other.items():
            if paths:
                skipped.setdefault(why, []).extend(paths)
    return skipped


def identity(path: str | Path) -> tuple[int, int]:
    """Identify a file or folder, whichever path leads to it."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def relative_stem(path: Path, folder: str | Path) -> str:
    """Get the path below a folder, with ``/`` and without the suffix."""
    return path.relative_to(folder).with_suffix('').as_posix()


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
    """Refuse a path to something else than a folder.

    Raises:
        InputError: It would count as missing in silence.
    """
    if folder is not None and os.path.lexists(folder) and not folder.is_dir():
        what = 'a link to nothing' if folder.is_symlink() else 'no folder'
        raise InputError(f'"{folder}" is {what}, but the masks should be '
                         'there; mend or remove it.')
