"""Open image files, with limits on their size and format."""
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

# Importing a plugin registers it.
from PIL import BmpImagePlugin as BmpImagePlugin
from PIL import Image, ImageOps
from PIL import JpegImagePlugin as JpegImagePlugin
from PIL import PngImagePlugin as PngImagePlugin
from PIL import TiffImagePlugin as TiffImagePlugin
from PIL import WebPImagePlugin as WebPImagePlugin

from mmad.errors import InputError

# The formats whose readers do not start another program.
FORMATS = ('BMP', 'JPEG', 'PNG', 'TIFF', 'WEBP')
MAX_PIXELS = 100_000_000

# Pillow raises any of these for a broken file.
_READ_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error,
                LookupError, TypeError, ArithmeticError,
                Image.DecompressionBombError)
_ORIENTATION, _SUBFILE_TYPE, _BITS_PER_SAMPLE = 0x0112, 254, 258
_TURNS: dict[int | None, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}


@contextmanager
def open_image(path: str | Path,
               max_pixels: int = MAX_PIXELS,
               what: str = 'image') -> Iterator[Image.Image]:
    """Open a file of one of the ``FORMATS``, whatever its suffix.

    The size is checked before anything is decoded. Errors that occur while
    the ``with`` block reads pixels are converted too.

    Args:
        path (str | Path): Path of the file.
        max_pixels (int): Maximum number of pixels. Defaults to 100 million.
        what (str): Word for the file in messages. Defaults to ``'image'``.

    Yields:
        Image.Image: The image, not yet decoded, and not yet rotated according
        to its metadata.

    Raises:
        InputError: If the file is missing, not a regular file, of another
            format, too large or broken, or contains several images.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f'{what} "{path}" is not a regular file; '
                             'replace or remove it.')
        with open(path, 'rb') as file:
            image = _identify(file, path, what)
            width, height = image.size
            if width * height > max_pixels:
                raise InputError(
                    f'{what} "{path}" is {width}x{height}, more than the '
                    f'limit of {max_pixels} pixels; cut it up, or raise '
                    '`max_pixels` of LoadImage and LoadMask in the pipeline.')
            _refuse_pages(image, path, what)
            yield image
    except InputError:
        raise
    except _READ_ERRORS as error:
        raise InputError(
            f'{what} "{path}" cannot be read ({type(error).__name__}: it is '
            'missing, truncated or not an image); replace or remove '
            'it.') from error


def bits_per_channel(image: Image.Image) -> int:
    """Return the bits per channel of a file, which Pillow's mode hides.

    Args:
        image (Image.Image): Image from :func:`open_image`, not decoded.
    """
    if image.format == 'TIFF':
        tags = image.tag_v2  # type: ignore[attr-defined]
        return max(np.atleast_1d(tags.get(_BITS_PER_SAMPLE, 1)))
    tile = getattr(image, 'tile', None)
    if image.format == 'PNG' and tile:
        return 16 if ';16' in str(tile[0][3]) else 8
    return 8


def read_pixels(image: Image.Image, path: str | Path) -> np.ndarray:
    """Read all channels of an image, at the bit depth of the file.

    The image is rotated upright according to its metadata.

    Args:
        image (Image.Image): Image from :func:`open_image`.
        path (str | Path): Path of the file.

    Returns:
        np.ndarray: Array ``(H, W)``, or ``(H, W, C)`` with the channel order
        of Pillow's mode.

    Raises:
        InputError: If the bit depth of the file cannot be read.
    """
    is_deep = bits_per_channel(image) > 8  # before the next line decodes
    orientation = image.getexif().get(_ORIENTATION)
    pixels = np.asarray(ImageOps.exif_transpose(image))
    if pixels.ndim == 2 or not is_deep:
        return pixels
    # Pillow reads only the high bytes of these files.
    deep: Any = cv2.imdecode(
        np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED
        | cv2.IMREAD_IGNORE_ORIENTATION)
    order = dict(LA=[0, 3], RGB=[2, 1, 0], RGBA=[2, 1, 0, 3]).get(image.mode)
    if (order is not None and deep is not None and deep.ndim == 3
            and deep.dtype == np.uint16 and deep.shape[2] > max(order)):
        deep = deep[..., order]
        for candidate in (_TURNS.get(orientation, np.asarray)(deep), deep):
            if np.array_equal(candidate >> 8, pixels):
                return candidate
    raise InputError(
        f'"{path}" has more than 8 bits per channel in a form that cannot be '
        f'read (mode {image.mode}); save it as PNG.')


def _identify(file, path: str | Path, what: str) -> Image.Image:
    prefix = file.read(16)
    for name in FORMATS:
        # Image.open has its own limit on the number of pixels.
        factory, accept = Image.OPEN[name]
        if accept is not None and accept(prefix) is True:
            file.seek(0)
            # With a path, Pillow would map a TIFF file into memory and mix up
            # the rows of a rotated one.
            return factory(file, '')
    raise InputError(
        f'{what} "{path}" cannot be read: it is empty or in none of the '
        f'formats {", ".join(FORMATS)}, whatever its suffix; convert or '
        'remove it.')


def _refuse_pages(image: Image.Image, path: str | Path, what: str) -> None:
    number = 1
    if image.format in ('PNG', 'TIFF', 'WEBP'):
        number = getattr(image, 'n_frames', 1)
    if number > 1 and image.format == 'TIFF':
        # A thumbnail of the first page does not count as an image.
        pages = []
        for page in range(number):
            image.seek(page)
            tags = image.tag_v2  # type: ignore[attr-defined]
            pages.append(not tags.get(_SUBFILE_TYPE, 0) & 1)
        number = sum(pages[1:]) + 1
        image.seek(0)
    if number > 1:
        raise InputError(
            f'{what} "{path}" holds {number} images, but only one could be '
            'used; save each in a file of its own.')
