"""Generate the demo data set: normal and defective metal plates."""
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from mmad.errors import InputError
from mmad.utils.arguments import check_choice

from .demo_plate import DEFECT_TYPES, any_pose, render
from .plate_pose import PlatePose
from .pose_table import Pose, write_poses

CATEGORIES = ('plate', 'plate_any-pose', 'plate_upright')
_RECORD = 'generated.json'
_POSES = 'poses.csv'


def generate_demo(root: str | Path,
                  category: str = 'plate',
                  *,
                  seed: int = 0,
                  num_train: int = 80,
                  num_good: int = 20,
                  num_per_defect_type: int = 12,
                  size: int = 256) -> Path:
    """Generate the demo data set in the layout of MVTec AD.

    There are three categories of the same plates:

    - ``plate``: upright and in the center;
    - ``plate_any-pose``: smaller, at any angle and off the center. The file
      ``poses.csv`` has the angle of the plate in degrees, clockwise, and
      ``x`` and ``y`` of its center from the left and from the top, as a share
      of the side of the image.
    - ``plate_upright``: the images and masks of ``plate_any-pose``, brought
      upright and into the center by these poses. Interpolation is bilinear,
      and the border is repeated, since a reflection may show a second plate.

    The data set is written as a whole or not at all. If the same data set
    already exists, nothing is written. An image only depends on ``seed``,
    ``size``, its split and its number in the split.

    Args:
        root (str | Path): Folder to write the folder of the category to.
        category (str): One of :data:`CATEGORIES`. Defaults to ``'plate'``.
        seed (int): Seed of all images. Defaults to 0.
        num_train (int): Number of normal training images. Defaults to 80.
        num_good (int): Number of normal test images. Defaults to 20.
        num_per_defect_type (int): Number of test images of each of the five
            defect types. Defaults to 12.
        size (int): Side of the images in pixels. Defaults to 256.

    Returns:
        Path: The folder ``ROOT/CATEGORY``.

    Raises:
        InputError: If the category is unknown, or if ``ROOT/CATEGORY``
            contains something else or cannot be written.
    """
    check_choice('category', category, CATEGORIES)
    target = Path(root) / category
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
                dir=target.parent, prefix=f'.{category}.') as temporary:
            built = Path(temporary, category)
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
    return (record.is_file() and json.loads(record.read_text()) == settings and
            (folder.name != 'plate_any-pose' or (folder / _POSES).is_file())
            and all(file.is_file()
                    for split, defect_type, _, name in _names(settings)
                    for file in _files(folder, split, defect_type, name)))


def _write(folder: Path, settings: dict) -> None:
    folder.mkdir()
    seed, size = settings['seed'], settings['size']
    for split, defect_type, index, name in track(
            list(_names(settings)), 'Drawing the demo data'):
        image, mask = render(
            seed,
            split,
            index,
            defect_type,
            size,
            at_any_pose=folder.name != 'plate')
        if folder.name == 'plate_upright':
            pose = any_pose(seed, split, index)
            image = _turn_upright(image, pose, cv2.INTER_LINEAR)
            mask = _turn_upright(mask, pose, cv2.INTER_NEAREST)
        contents = [cv2.cvtColor(image, cv2.COLOR_RGB2BGR), mask]
        files = _files(folder, split, defect_type, name)
        for file, content in zip(files, contents, strict=False):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(cv2.imencode('.png', content)[1].tobytes())
    if folder.name == 'plate_any-pose':
        write_poses(folder / _POSES, _poses(settings))
    (folder / _RECORD).write_text(json.dumps(settings) + '\n')


def _turn_upright(picture: np.ndarray, pose: PlatePose,
                  interpolation: int) -> np.ndarray:
    return cv2.warpAffine(
        picture,
        pose.to_upright(len(picture)),
        picture.shape[:2],
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE)


def _poses(settings: dict) -> Iterator[tuple[str, Pose]]:
    for split, _, index, name in _names(settings):
        pose = any_pose(settings['seed'], split, index)
        yield f'{split}/{name}.png', (pose.angle, 0.5 + pose.x / 256,
                                      0.5 + pose.y / 256)
