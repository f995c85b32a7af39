"""Opening image files, within limits."""
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

# The plugins register themselves.
from PIL import BmpImagePlugin as BmpImagePlugin
from PIL import Image, ImageOps
from PIL import JpegImagePlugin as JpegImagePlugin
from PIL import PngImagePlugin as PngImagePlugin
from PIL import TiffImagePlugin as TiffImagePlugin
from PIL import WebPImagePlugin as WebPImagePlugin

from mmad.errors import InputError

# Those of which the readers start no other program.
FORMATS = ('BMP', 'JPEG', 'PNG', 'TIFF', 'WEBP')
MAX_PIXELS = 100_000_000

# Pillow reports a broken file in any of these.
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

    The size is checked before anything is decoded. What goes wrong while the
    ``with`` block reads pixels is reported here too.

    Args:
        path (str | Path): The file.
        max_pixels (int): Largest number of pixels. Defaults to 100 million.
        what (str): What an error calls it. Defaults to ``'image'``.

    Yields:
        Image.Image: The image, not yet decoded, not yet turned as its
        metadata say.

    Raises:
        InputError: The file is missing, no regular file, of another format,
            too large, broken, or holds several images.
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
    """Get the bits per channel in the file, which Pillow's mode does not tell.

    Args:
        image (Image.Image): As :func:`open_image` yields it, not decoded.
    """
    if image.format == 'TIFF':
        tags = image.tag_v2  # type: ignore[attr-defined]
        return max(np.atleast_1d(tags.get(_BITS_PER_SAMPLE, 1)))
    tile = getattr(image, 'tile', None)
    if image.format == 'PNG' and tile:
        return 16 if ';16' in str(tile[0][3]) else 8
    return 8


def read_pixels(image: Image.Image, path: str | Path) -> np.ndarray:
    """Read all channels at the depth of the file, turned upright.

    Args:
        image (Image.Image): As :func:`open_image` yields it.
        path (str | Path): Its file.

    Returns:
        np.ndarray: ``(H, W)``, or ``(H, W, C)`` in the order of Pillow's
        mode.

    Raises:
        InputError: The file has channels of a depth that cannot be read.
    """
    is_deep = bits_per_channel(image) > 8  # before the next line decodes
    orientation = image.getexif().get(_ORIENTATION)
    pixels = np.asarray(ImageOps.exif_transpose(image))
    if pixels.ndim == 2 or not is_deep:
        return pixels
    # Of these Pillow drops the low bytes.
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
        # Not by Image.open, which has a limit of its own.
        factory, accept = Image.OPEN[name]
        if accept is not None and accept(prefix) is True:
            file.seek(0)
            # Without the path: Pillow would map a TIFF file into memory and
            # mix up the rows of one that is to be turned.
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
        # A thumbnail of the first page is none.
        pages = []
        for page in range(number):
            image.seek(page)
            tags = image.tag_v2  # type: ignore[attr-defined]
            pages.append(not tags.get(_SUBFILE_TYPE, 0) & 1)
        number = sum(pages[1:]) + 1
        image.seek(0)
    if number > 1:
        raise InputError(
            f'{what} "{path}" holds {number} images, of which one only could '
            'be used; save each in a file of its own.')
