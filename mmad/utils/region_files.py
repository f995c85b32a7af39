"""Read masks that have a file for each defective region."""
from pathlib import Path

import numpy as np

from mmad.errors import InputError

from .image_file import MAX_PIXELS, open_image, read_pixels


def list_regions(folder: str | Path) -> list[Path]:
    """List the files of the regions of an image, sorted by name.

    Args:
        folder (str | Path): Folder of the image, with a PNG file per region.

    Raises:
        InputError: If the folder is missing or has no such file.
    """
    folder = Path(folder)
    paths = sorted(
        path for path in folder.iterdir() if path.suffix.lower() == '.png'
        and not path.name.startswith('.')) if folder.is_dir() else []
    if not paths:
        problem = ('has no PNG file' if folder.is_dir() else 'does not exist')
        raise InputError(f'the folder of masks "{folder}" {problem}; it must '
                         'have a PNG file for each region of its image.')
    return paths


def read_regions(folder: str | Path,
                 max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, list[int]]:
    """Read the regions of an image, which may overlap.

    A file is gray, 0 where there is no defect, and has one other value, which
    stands for the kind of defect.

    Args:
        folder (str | Path): Folder of the image, with a PNG file per region.
        max_pixels (int): Maximum number of pixels. Defaults to 100 million.

    Returns:
        tuple[np.ndarray, list[int]]: The regions, shape (R, H, W), bool, in
        the order of the names of the files; and the value of each.

    Raises:
        InputError: If there are no files, or one of them cannot be read, is
            not gray, has no region or several values, or is of another size.
    """
    regions: list[np.ndarray] = []
    values = []
    for path in list_regions(folder):
        with open_image(path, max_pixels, 'mask') as image:
            pixels = read_pixels(image, path)
        if pixels.ndim != 2 or pixels.dtype.kind not in 'ui':
            raise InputError(
                f'mask "{path}" has the mode {image.mode}, but the mask of a '
                'region must be gray, of 8 or 16 bits; convert it.')
        region = pixels != 0
        found = np.unique(pixels[region]).tolist()
        if len(found) != 1:
            raise InputError(
                f'mask "{path}" has no pixel of a region; correct or remove '
                'it.' if not found else
                f'mask "{path}" has the values {found[0]} and {found[1]}, but '
                'must show one region, of one value; split or correct it.')
        if regions and region.shape != regions[0].shape:
            sizes = [
                f'{one.shape[1]}x{one.shape[0]}'
                for one in (region, regions[0])
            ]
            raise InputError(
                f'mask "{path}" is {sizes[0]}, but others of its folder are '
                f'{sizes[1]}; all must have the size of the image.')
        regions.append(region)
        values += found
    return np.stack(regions), values
