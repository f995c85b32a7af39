"""Generate the demo data set: normal and defective metal plates."""
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
from rich.progress import track

from mmad.errors import InputError

from .demo_plate import DEFECT_TYPES, render

CATEGORY = 'plate'
_RECORD = 'generated.json'


def generate_demo(root: str | Path,
                  *,
                  seed: int = 0,
                  num_train: int = 80,
                  num_good: int = 20,
                  num_per_defect_type: int = 12,
                  size: int = 256) -> Path:
    """Generate the demo data set in the layout of MVTec AD.

    The data set is written as a whole or not at all. If the same data set
    already exists, nothing is written. An image only depends on ``seed``,
    ``size``, its split and its number in the split.

    Args:
        root (str | Path): Folder to write the folder ``plate`` to.
        seed (int): Seed of all images. Defaults to 0.
        num_train (int): Number of normal training images. Defaults to 80.
        num_good (int): Number of normal test images. Defaults to 20.
        num_per_defect_type (int): Number of test images of each of the five
            defect types. Defaults to 12.
        size (int): Side of the images in pixels. Defaults to 256.

    Returns:
        Path: The folder ``ROOT/plate``.

    Raises:
        InputError: If ``ROOT/plate`` contains something else or cannot be
            written.
    """
    target = Path(root) / CATEGORY
    settings = dict(
        seed=seed,
        num_train=num_train,
        num_good=num_good,
        num_per_defect_type=num_per_defect_type,
        size=size)
    if _is_there(target, settings):
        return target
    if target.exists():
        raise InputError(
            f'"{target}" exists, but is not the complete demo data set with '
            'these settings; remove it or choose another folder.')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
                dir=target.parent, prefix=f'.{CATEGORY}.') as temporary:
            built = Path(temporary, CATEGORY)
            _write(built, settings)
            try:
                os.rename(built, target)
            except OSError:  # another process may have been faster
                if not _is_there(target, settings):
                    raise
    except OSError as error:
        raise InputError(
            f'"{target}" cannot be written ({error.strerror}); free some '
            'space or choose another folder.') from error
    return target


def _names(settings: dict) -> Iterator[tuple[str, str | None, int, str]]:
    """Yield the split, defect type, number and name of each image.

    The number is that in the split, and the name is ``DEFECT_TYPE/NNN``.
    """
    for index in range(settings['num_train']):
        yield 'train', None, index, f'good/{index:03d}'
    for index in range(settings['num_good']):
        yield 'test', None, index, f'good/{index:03d}'
    start = settings['num_good']
    for name in DEFECT_TYPES:
        for number in range(settings['num_per_defect_type']):
            yield 'test', name, start + number, f'{name}/{number:03d}'
        start += settings['num_per_defect_type']


def _files(folder: Path, split: str, defect_type: str | None,
           name: str) -> list[Path]:
    files = [folder / split / f'{name}.png']
    if defect_type is not None:
        files.append(folder / 'ground_truth' / f'{name}_mask.png')
    return files


def _is_there(folder: Path, settings: dict) -> bool:
    record = folder / _RECORD
    return (record.is_file() and json.loads(record.read_text()) == settings
            and all(file.is_file()
                    for split, defect_type, _, name in _names(settings)
                    for file in _files(folder, split, defect_type, name)))


def _write(folder: Path, settings: dict) -> None:
    folder.mkdir()
    seed, size = settings['seed'], settings['size']
    for split, defect_type, index, name in track(
            list(_names(settings)), 'Drawing the demo data'):
        image, mask = render(seed, split, index, defect_type, size)
        contents = [cv2.cvtColor(image, cv2.COLOR_RGB2BGR), mask]
        files = _files(folder, split, defect_type, name)
        for file, content in zip(files, contents, strict=False):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(cv2.imencode('.png', content)[1].tobytes())
    (folder / _RECORD).write_text(json.dumps(settings) + '\n')
