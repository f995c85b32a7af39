"""Check that no test image is also a training image."""
import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmad.errors import InputError

from .scan_log import log_once

Image = str | Path

_MOST_NAMES = 5
_MOST_READ = 10_000
_SAMPLE = 4096


def report_overlap(name: str, train: Iterable[Image],
                   test: Iterable[Image]) -> None:
    """Refuse test images that are also training images.

    Different files with the same content cause a warning, except in large
    data sets, where too many files would have to be read.

    Raises:
        InputError: If a file is both a training image and a test image.
    """
    test = list(test)
    same, alike = _compare_status(train, test)
    if same:
        first, second = same[0]
        raise InputError(
            f'{name}: {len(same)} of the test images are training images too, '
            f'such as "{first}"' +
            (f' and "{second}", the same file' if first != second else '') +
            '; train and test with different images.')
    try:
        equal = _equal_files(alike, test)
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


def digest_names(names: Sequence[str]) -> bytes:
    """Compute what tells a list of file names from others."""
    text = '\0'.join(names).encode('utf-8', 'surrogateescape')
    return hashlib.blake2b(text).digest()


def _compare_status(
        first: Iterable[Image],
        second: Sequence[Image]) -> tuple[list[tuple[Image, Image]], list]:
    """Compare two lists of files without reading them.

    Returns:
        tuple[list[tuple], list]: Pairs of paths, one of each list, that lead
        to the same file; and the files of the first list of which the second
        has one of the same size.
    """
    status = [os.stat(path) for path in second]
    keys = [(one.st_dev, one.st_ino) for one in status]
    wanted, sizes = set(keys), {one.st_size for one in status}
    known, alike = {}, []
    for path in first:
        # Once for each file, since there may be a million on a server.
        one = os.stat(path)
        key = one.st_dev, one.st_ino
        if key in wanted:
            known[key] = path
        if one.st_size in sizes:
            alike.append(path)
    return [(known[key], path) for key, path in zip(keys, second)
            if key in known], alike


def _equal_files(first: Iterable[Image],
                 second: Iterable[Image]) -> list[tuple[Image, Image]]:
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


def _middle(path: Image) -> tuple[int, bytes]:
    size = os.path.getsize(path)
    with open(path, 'rb') as file:
        file.seek(max(0, (size - _SAMPLE) // 2))
        return size, file.read(_SAMPLE)


def _digest(path: Image) -> bytes:
    digest = hashlib.blake2b()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()
