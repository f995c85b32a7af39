"""Join names from data to a folder without leaving the folder."""
from pathlib import Path, PurePosixPath, PureWindowsPath

from mmad.errors import InputError


def leads_outside(name: str) -> bool:
    """Return whether a name is absolute or contains ``..`` on any system."""
    windows = PureWindowsPath(name)
    # A drive without a root, as in "a: b", is allowed: it is only a path on
    # Windows.
    return (PurePosixPath(name).is_absolute() or bool(windows.root)
            or '..' in windows.parts or '\0' in name)


def safe_path(folder: str | Path, *parts: str) -> Path:
    """Join names from data to a folder without leaving it.

    Links inside the folder are followed, since the user has made them.

    Args:
        folder (str | Path): Folder of the file.
        *parts (str): Names from data, such as a defect type and a file name.
            Each may contain folders.

    Returns:
        Path: The joined path.

    Raises:
        InputError: If a part is absolute or contains ``..`` on any system, or
            all parts are empty.
    """
    path = Path(folder)
    for part in parts:
        if leads_outside(part):
            raise InputError(
                f'the name {part!r} would lead outside of "{folder}"; use '
                'names in the data that are relative and without "..".')
        path /= part
    if path == Path(folder):
        raise InputError(
            f'the names {parts} are empty and name no file in "{folder}"; '
            'correct them in the data.')
    return path
