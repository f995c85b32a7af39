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
    same, train, test = _compare_status(train, list(test))
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


def digest_names(names: Sequence[str]) -> bytes:
    """Compute what tells a list of file names from others."""
    text = '\0'.join(names).encode('utf-8', 'surrogateescape')
    return hashlib.blake2b(text).digest()


def _compare_status(
    first: Iterable[Image], second: Sequence[Image]
) -> tuple[list[tuple[Image, Image]], list[Image], list[Image]]:
    """Compare two lists of files without reading them.

    Returns:
        tuple[list[tuple], list, list]: Pairs of paths, one of each list, that
        lead to the same file; and the files of each list that have the size
        of one of the other.
    """
    keys, sizes = [], []
    for path in second:
        one = os.stat(path)
        keys.append((one.st_dev, one.st_ino))
        sizes.append(one.st_size)
    wanted, common = set(keys), set(sizes)
    known, shared, alike = {}, set(), []
    for path in first:
        # Once for each file, since there may be a million on a server.
        one = os.stat(path)
        key = one.st_dev, one.st_ino
        if key in wanted:
            known[key] = path
        if one.st_size in common:
            alike.append(path)
            shared.add(one.st_size)
    same = [(known[key], path) for key, path in zip(keys, second)
            if key in known]
    return same, alike, [
        path for path, size in zip(second, sizes) if size in shared
    ]


def _equal_files(first: Sequence[Image],
                 second: Sequence[Image]) -> list[tuple[Image, Image]]:
    """Find pairs of files, one of each list, with the same content.

    Only files with the same size and the same bytes in the middle are read
    completely. If more than 10,000 files remain at a step, the search ends
    without a result.
    """
    pairs: list[tuple[Image, list[Image]]] = []
    for key in (_middle, _digest):
        if len(first) + len(second) > _MOST_READ:
            return []
        groups = defaultdict(list)
        for path in first:
            groups[key(path)].append(path)
        pairs = [(path, groups[key(path)]) for path in second]
        second = [path for path, group in pairs if group]
        kept = {twin for _, group in pairs for twin in group}
        first = [path for path in first if path in kept]
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
