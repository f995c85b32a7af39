"""Read mask files."""
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mmad.errors import InputError

from .image_file import MAX_PIXELS, bits_per_channel, open_image, read_pixels
from .region_files import read_regions

_MODES = ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I', 'I;16', 'I;16B', 'I;16L',
          'F')


def read_mask(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a mask file as an array ``(H, W)`` of type bool.

    Every pixel that is not background is defective:

    - Gray values and colors of any type and depth: a pixel is defective
      unless all its channels are 0. This includes soft edges.
    - Palettes: a pixel is defective unless its index is 0. A file is refused
      if index 0 is neither black nor transparent, but another used index is.
    - Transparency: if all pixels have the same color, a pixel is defective
      unless its alpha value is 0. If the colors differ, they decide. A file is
      refused if its colors and its transparency mark different regions.

    Args:
        path (str | Path): Path of a BMP, PNG, TIFF or WebP file. JPEG and
            lossy WebP files are refused, since lossy compression changes the
            values around a region. If it is a folder, it has a file for each
            region, see :func:`~mmad.utils.region_files.read_regions`, and a
            pixel is defective if it belongs to any of them.
        max_pixels (int): Maximum number of pixels. Defaults to 100 million.

    Raises:
        InputError: If the file is missing, truncated, too large or not an
            image, or it is not clear which pixels it marks.
    """
    if os.path.isdir(path):
        return np.asarray(read_regions(path, max_pixels)[0].any(axis=0))
    with open_image(path, max_pixels, 'mask') as image:
        if _is_lossy(image, path):
            raise InputError(
                f'mask "{path}" has lossy compression, which changes the '
                'values around a region; save the mask as PNG, from its '
                'source.')
        if image.mode not in _MODES:
            raise InputError(
                f'mask "{path}" has the mode {image.mode}, for which the '
                'background is not known; save it as PNG, black where there '
                'is no defect.')
        if image.mode == 'P':
            return _from_palette(image, path)
        if 'transparency' in image.info and bits_per_channel(image) == 8:
            upright = ImageOps.exif_transpose(image)
            return _from_layers(np.asarray(upright.convert('RGBA')), path)
        pixels = read_pixels(image, path)
        if image.mode in ('LA', 'RGBA'):
            return _from_layers(pixels, path)
    if pixels.dtype.kind == 'f' and not np.isfinite(pixels).all():
        raise InputError(f'mask "{path}" has values that are not finite; '
                         'save it as PNG, 0 where there is no defect.')
    defect = pixels != 0
    return defect.any(axis=2) if defect.ndim == 3 else defect


def _is_lossy(image: Image.Image, path: str | Path) -> bool:
    if image.format == 'WEBP':
        return not _is_lossless_webp(path)
    return (image.format in ('JPEG', 'MPO')
            or 'jpeg' in str(image.info.get('compression', '')))


def _is_lossless_webp(path: str | Path) -> bool:
    with open(path, 'rb') as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            if head[:4] in (b'VP8L', b'VP8 '):
                return head[:4] == b'VP8L'
            size = int.from_bytes(head[4:], 'little')
            file.seek(size + size % 2, os.SEEK_CUR)
    return False


def _from_palette(image: Image.Image, path: str | Path) -> np.ndarray:
    indices = read_pixels(image, path)
    colors = np.zeros((256, 3), np.uint8)
    entries = np.asarray(image.getpalette(), np.uint8).reshape(-1, 3)
    colors[:len(entries)] = entries
    alpha = np.full(256, 255, np.uint8)
    transparency = image.info.get('transparency', b'')
    if isinstance(transparency, int):
        alpha[transparency] = 0
    else:
        alpha[:len(transparency)] = list(transparency)
    blank = alpha == 0 if 0 in alpha else ~np.any(colors, axis=1)
    if not blank[0] and blank[np.unique(indices)].any():
        raise InputError(
            f'mask "{path}" has a palette in which the color of index 0 is '
            'not the background; save it in gray, 0 where there is no '
            'defect.')
    return indices != 0


def _from_layers(pixels: np.ndarray, path: str | Path) -> np.ndarray:
    """Return the defective pixels of an array with a last channel alpha."""
    color, visible = pixels[..., :-1], pixels[..., -1] != 0
    colored = np.any(color, axis=2)
    # Where nothing varies, a uniform mask may be full or empty.
    if (color == color[:1, :1]).all():
        if not visible.all():
            return visible
        if (pixels[..., -1] == pixels[0, 0, -1]).all():
            return colored
    elif visible.all():
        return colored
    elif visible.any() and colored[visible].all():
        return visible
    raise InputError(
        f'mask "{path}" is not clear: its colors and its transparency mark '
        'different regions; save it in gray, 0 where there is no defect.')
