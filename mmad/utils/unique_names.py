import os
from pathlib import Path

# Leaves room for a number and a suffix in the 255 bytes of a file name.
_MAX_BYTES = 200


class UniqueNames:
    """Gives each image a name of its own, for the files written about it.

    A name is a relative path without suffix. Names that differ only in upper
    and lower case count as the same, as on Windows and macOS; those that were
    given before get a number: ``a/000``, ``a/000_2``.
    """

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def __call__(self, *parts: str) -> Path:
        """Make a name of the names of folders and of the file.

        Args:
            *parts (str): Names without separators; the last is that of the
                file, without its suffix.
        """
        kept = [_shorten(part) for part in parts if part not in ('', '.')]
        *folders, stem = kept or ['image']
        name = Path(*folders, stem)
        first = key = str(name).casefold()
        # Where many have the same name, most numbers are taken.
        number = self._taken.get(first, 1)
        while key in self._taken:
            number += 1
            name = Path(*folders, f'{stem}_{number}')
            key = str(name).casefold()
        self._taken[key] = 1
        self._taken[first] = number
        return name


def _shorten(part: str) -> str:
    encoded = os.fsencode(part)
    if len(encoded) <= _MAX_BYTES:
        return part
    return encoded[:_MAX_BYTES].decode('utf-8', 'ignore')
