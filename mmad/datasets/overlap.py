"""Check that no test image is also a training image."""
import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from mmad.errors import InputError

from .files import file_identity
from .scan_log import log_once

_MOST_NAMES = 5
_MOST_READ = 10_000
_SAMPLE = 4096


def report_overlap(name: str, train: Iterable[Path],
                   test: Iterable[Path]) -> None:
    """Refuse test images that are also training images.

    Different files with the same content cause a warning, except in large
    data sets, where too many files would have to be read.

    Raises:
        InputError: If a file is both a training image and a test image.
    """
    train, test = list(train), list(test)
    same = _same_files(train, test)
    if same:
        first, second = same[0]
        raise InputError(
            f'{name}: {len(same)} of the test images are training images too, '
            f'such as "{first}"' +
            (f' and "{second}", the same file' if first != second else '') +
            '; train and test with different images.')
    try:
        equal = _equal_files(train, test)
    except OSError as error:
        raise InputError(f'{name}: "{error.filename}" cannot be read '
                         f'({error.strerror}); correct its permissions or '
                         'remove it.') from error
    if equal:
        pairs = ', '.join(f'"{a}" = "{b}"' for a, b in equal[:_MOST_NAMES])
        log_once(
            f'{name}: {len(equal)} of the test images have the same content '
            f'as a training image, so the results are misleading: '
            f'{pairs}{", ..." if len(equal) > _MOST_NAMES else ""}.',
            logging.WARNING)


def _same_files(first: Iterable[Path],
                second: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Find pairs of paths, one of each list, that lead to the same file."""
    known = {file_identity(path): path for path in first}
    return [(known[key], path) for path in second
            if (key := file_identity(path)) in known]


def _equal_files(first: Iterable[Path],
                 second: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Find pairs of files, one of each list, with the same content.

    Only files with the same size and the same bytes in the middle are read
    completely. If more than 10,000 files remain at a step, the search ends
    without a result.
    """
    first, second = list(first), list(second)
    for key in (os.path.getsize, _middle, _digest):
        groups = defaultdict(list)
        for path in first:
            groups[key(path)].append(path)
        pairs = [(path, groups[key(path)]) for path in second]
        second = [path for path, group in pairs if group]
        kept = {twin for _, group in pairs for twin in group}
        first = [path for path in first if path in kept]
        if len(first) + len(second) > _MOST_READ:
            return []
    return [(group[0], path) for path, group in pairs if group]


def _middle(path: Path) -> tuple[int, bytes]:
    size = os.path.getsize(path)
    with open(path, 'rb') as file:
        file.seek(max(0, (size - _SAMPLE) // 2))
        return size, file.read(_SAMPLE)


def _digest(path: Path) -> bytes:
    digest = hashlib.blake2b()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()
