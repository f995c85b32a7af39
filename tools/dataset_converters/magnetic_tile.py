"""Convert the magnetic tile data set to the layout of MVTec AD.

The download has no split. It has six shots of each tile with increasing
exposure, exp1_num_N to exp6_num_N, where N increases from shot to shot. The
shots of a tile are nearly the same image, so all of them are used either for
training or for testing. In the order of N, a new tile starts where N increases
by more than 100 and the number after "exp" does not increase. Shots of two
tiles that alternate count as one tile. Tiles with a defect in any shot are
used for testing. Further tiles are chosen at random for testing, until they
have the requested share of the good images.
"""
import argparse
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmad.datasets.files import list_images
from mmad.errors import InputError
from mmad.utils.command_line import one_sentence_errors
from mmad.utils.image_file import open_image
from mmad.utils.mask_file import read_mask

_FOLDERS = {
    'good': 'MT_Free'
} | {
    name: f'MT_{name.capitalize()}'
    for name in ('blowhole', 'break', 'crack', 'fray', 'uneven')
}
_LONGEST_PAUSE = 100


@dataclass(frozen=True)
class Shot:
    """One image of the download."""
    path: Path
    defect_type: str
    exposure: int
    number: int

    @property
    def mask(self) -> Path:
        return self.path.with_suffix('.png')


def find_shots(source: Path) -> list[Shot]:
    """List all images, in the order in which they were taken.

    Raises:
        InputError: If a folder is missing or empty, a file name has another
            form, or a mask is missing.
    """
    shots = []
    for defect_type, name in _FOLDERS.items():
        folder = source / name / 'Imgs'
        paths = [p for p in list_images(folder) if p.suffix == '.jpg']
        if not paths:
            raise InputError(
                f'there are no .jpg files in "{folder}"; expected '
                f'{", ".join(sorted(_FOLDERS.values()))}, each with a folder '
                f'Imgs, below "{source}", as in the download.')
        for path in paths:
            match = re.fullmatch(r'exp(\d)_num_(\d+)', path.stem)
            if match is None:
                raise InputError(
                    f'image "{path}" is not named expE_num_N.jpg, as those of '
                    'the download are; remove it.')
            shots.append(Shot(path, defect_type, int(match[1]), int(match[2])))
            if defect_type != 'good' and not shots[-1].mask.is_file():
                raise InputError(f'image "{path}" has no mask; expected '
                                 f'"{shots[-1].mask}".')
    return sorted(shots, key=lambda shot: (shot.number, shot.exposure))


def group_tiles(shots: Sequence[Shot]) -> list[list[Shot]]:
    """Group shots, in the order in which they were taken, by tile."""
    tiles = []
    for i, shot in enumerate(shots):
        last = shots[i - 1]
        if i == 0 or (shot.number - last.number > _LONGEST_PAUSE
                      and shot.exposure <= last.exposure):
            tiles.append([])
        tiles[-1].append(shot)
    return tiles


def split_tiles(tiles: Sequence[list[Shot]], share: float,
                seed: int) -> tuple[list[Shot], list[Shot]]:
    """Split the shots into those for training and those for testing."""
    train, test = [], []
    good = []
    for tile in tiles:
        if all(shot.defect_type == 'good' for shot in tile):
            good.append(tile)
        else:
            test += tile
    wanted = share * sum(s.defect_type == 'good' for tile in tiles
                         for s in tile)
    for i in np.random.default_rng(seed).permutation(len(good)):
        held = sum(shot.defect_type == 'good' for shot in test)
        (test if held < wanted else train).extend(good[i])
    return train, test


def is_usable(shot: Shot) -> bool:
    """Return whether the mask is not empty and has the size of its image."""
    if shot.defect_type == 'good':
        return True
    mask = read_mask(shot.mask)
    with open_image(shot.path) as image:
        return mask.any() and mask.shape == (image.height, image.width)


def write(train: Sequence[Shot], test: Sequence[Shot], folder: Path) -> None:
    """Copy the images, and the masks of the defective ones."""
    for split, shots in (('train', train), ('test', test)):
        for shot in shots:
            copies = {
                folder / split / shot.defect_type / shot.path.name: shot.path
            }
            if shot.defect_type != 'good':
                mask = f'{shot.path.stem}_mask.png'
                copies[folder / 'ground_truth' / shot.defect_type / mask] = (
                    shot.mask)
            for target, origin in copies.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(origin, target)


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, help='folder with MT_Free etc.')
    parser.add_argument('target', type=Path, help='folder to make')
    parser.add_argument(
        '--share',
        type=float,
        default=0.2,
        help='share of the good images for testing (default: 0.2)')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    if not 0 < args.share < 1:
        raise InputError(f'--share must lie in (0, 1), got {args.share}.')
    if args.target.exists():
        raise InputError(
            f'"{args.target}" exists; remove it or choose another folder.')
    shots = find_shots(args.source)
    train, test = split_tiles(group_tiles(shots), args.share, args.seed)
    usable = [shot for shot in test if is_usable(shot)]
    args.target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
            dir=args.target.parent, prefix=f'.{args.target.name}.') as folder:
        # Write the whole folder or nothing.
        built = Path(folder, args.target.name)
        write(train, usable, built)
        os.rename(built, args.target)
    for shot in sorted(set(test) - set(usable), key=lambda s: s.path):
        print(f'Left out, its mask is empty or of another size: {shot.path}')
    print(f'{len(train)} good images to train with and {len(usable)} to '
          f'test with are in {args.target}.')


if __name__ == '__main__':
    main()
