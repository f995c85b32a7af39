"""Paths made of names from data, which must stay in their folder."""
from pathlib import Path, PurePosixPath, PureWindowsPath

from mmad.errors import InputError


def leads_outside(name: str) -> bool:
    """Whether a name is absolute or has ``..`` in it, on any system."""
    windows = PureWindowsPath(name)
    # Of a drive without a root, as in "a: b", only Windows makes a path.
    return (PurePosixPath(name).is_absolute() or bool(windows.root)
            or '..' in windows.parts or '\0' in name)


def safe_path(folder: str | Path, *parts: str) -> Path:
    """Join names from data to a folder without leaving it.

    Links inside the folder are followed: they are the user's, not the data's.

    Args:
        folder (str | Path): Where the file belongs.
        *parts (str): Names from data, such as a defect type and a file name;
            each may have folders of its own.

    Returns:
        Path: ``folder`` and the parts.

    Raises:
        InputError: A part is absolute or has ``..`` in it, in the manner of
            any system, or together they name nothing.
    """
    path = Path(folder)
    for part in parts:
        if leads_outside(part):
            raise InputError(
                f'the name {part!r} would lead outside of "{folder}"; names '
                'in the data must be relative and without "..".')
        path /= part
    if path == Path(folder):
        raise InputError(
            f'the names {parts} are empty and name no file in "{folder}"; '
            'the data must name one.')
    return path
