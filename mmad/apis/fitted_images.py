"""Which images a checkpoint was fitted to, by their paths."""
import filecmp
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from mmad.errors import InputError
from mmad.utils.packed_names import unpack_names

KEY = 'fitted_images'


def read_names(state: Mapping, number: int) -> list[str]:
    """Read the paths of the fitted images from a checkpoint.

    Args:
        state (Mapping): The checkpoint.
        number (int): How many images were fitted.

    Returns:
        list[str]: In the order of their numbers; empty if the checkpoint does
        not name them.
    """
    meta = state.get('meta')
    names = meta.get(KEY) if isinstance(meta, Mapping) else None
    if isinstance(names, Tensor):
        names = unpack_names(names)
    # Earlier checkpoints have a list.
    if (not isinstance(names, list) or len(names) != number
            or not all(isinstance(name, str) for name in names)):
        return []
    return names


def find_fitted(paths: Sequence[str | Path],
                names: Sequence[str]) -> list[int | None]:
    """Find images among those that were fitted.

    An image is one of them if it has the same path; or the same file name
    and content, or where the fitted file is gone, the same file name alone,
    as after a folder was moved.

    Args:
        paths (Sequence[str | Path]): Paths of images.
        names (Sequence[str]): Those of the fitted images.

    Returns:
        list[int | None]: The number of each in the fit; None for others.
    """
    known = {name: number for number, name in enumerate(names)}
    alike = defaultdict(list)
    for number, name in enumerate(names):
        alike[os.path.basename(name)].append(number)
    return [
        known.get(
            os.path.abspath(path),
            _find_copy(path, alike[os.path.basename(path)], names))
        for path in paths
    ]


def _find_copy(path: str | Path, alike: Sequence[int],
               names: Sequence[str]) -> int | None:
    for number in alike:
        if os.path.isfile(names[number]):
            if os.path.isfile(path) and filecmp.cmp(
                    path, names[number], shallow=False):
                return number
        elif len(alike) == 1:
            return number
    return None


def find_forgotten(paths: Sequence[str | Path],
                   names: Sequence[str]) -> list[int]:
    """Find images to be forgotten among those that were fitted.

    Args:
        paths (Sequence[str | Path]): Their paths, those of copies, or the
            last parts of paths, such as ``good/012.png``. The files need not
            exist.
        names (Sequence[str]): Those of the fitted images.

    Returns:
        list[int]: Their numbers in the fit, ascending, each once.

    Raises:
        InputError: An image was not fitted, or several end in that path, or
            the checkpoint does not name its images.
    """
    if not names:
        raise InputError('the checkpoint does not name the images that it was '
                         'fitted to, so none can be forgotten; fit again '
                         'without them.')
    found = set()
    for path, number in zip(paths, find_fitted(paths, names)):
        if number is None:
            parts = Path(path).parts
            ending = [
                n for n, name in enumerate(names)
                if parts and Path(name).parts[-len(parts):] == parts
            ]
            if len(ending) != 1:
                raise InputError(
                    f'--forget "{path}": {len(ending) or "none"} of the '
                    f'{len(names)} fitted images, such as "{names[0]}", '
                    f'end{"" if ending else "s"} in this path; name one.')
            number, = ending
        found.add(number)
    return sorted(found)
