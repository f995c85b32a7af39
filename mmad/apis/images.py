"""Read the forms in which a caller may give images to the inferencer."""
import io
import os
from collections.abc import Iterable, Mapping

import mmcv
import numpy as np
import torch
from PIL import Image, ImageOps

from mmad.datasets.files import list_images
from mmad.errors import InputError

OneImage = str | os.PathLike | np.ndarray | Image.Image
_EXPECTED = ('an image is a path, an (H, W, 3) uint8 array in BGR order or a '
             'PIL image')
# Modes that a PNG file can store without conversion.
_PNG_MODES = ('1', 'L', 'LA', 'P', 'RGBA')


def find_images(images: OneImage | Iterable[OneImage]) -> Iterable[OneImage]:
    """List the single images in the argument of a caller.

    Images are not read, and an iterator is not advanced.

    Args:
        images: An image, a folder, or several images as a sequence or an
            iterator.

    Returns:
        Iterable: The images.

    Raises:
        InputError: If the argument has another type, a path does not exist,
            or a folder contains no images.
    """
    if isinstance(images, np.ndarray | Image.Image):
        return [images]
    if isinstance(images, str | os.PathLike):
        path = os.fspath(images)
        if os.path.isdir(path) and path:
            found = list_images(path, recursive=True)
            if not found:
                raise InputError(f'the folder "{path}" holds no images; name '
                                 'another folder.')
            return found
        if not os.path.exists(path):
            raise InputError(f'image "{path}" cannot be read: there is no '
                             'file or folder of this name.')
        return [images]
    if (isinstance(images, bytes | bytearray | Mapping | torch.Tensor)
            or not isinstance(images, Iterable)):
        raise InputError(
            f'cannot score a {type(images).__name__}: {_EXPECTED}, and '
            'several images are a list of them or a folder'
            f'{_advice(images)}.')
    return images


def describe_image(image: OneImage, number: int) -> dict:
    """Make the input dict of a pipeline for an image.

    Args:
        image: A path, an array or a PIL image.
        number (int): Position of the image, for the message.

    Returns:
        dict: Dict with ``img_path``, or with ``img`` (uint8 BGR, a copy),
        ``img_shape`` and ``ori_shape``.

    Raises:
        InputError: If the image has another type, or the array another shape
            or dtype.
    """
    if isinstance(image, str | os.PathLike):
        path = os.fsdecode(image)
        if os.path.isdir(path):
            raise InputError(
                f'image number {number}, "{path}", is a folder; give the '
                'folder alone, not in a list of images.')
        return dict(img_path=path)
    if isinstance(image, Image.Image):
        image = _from_pillow(image, number)
    elif not isinstance(image, np.ndarray):
        raise InputError(
            f'image number {number} is a {type(image).__name__}, but '
            f'{_EXPECTED}{_advice(image)}.')
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(
            'an image array must be (H, W, 3) uint8 in BGR order, but image '
            f'number {number} is {image.shape} {image.dtype}.')
    if not image.size:
        raise InputError(f'image number {number} is empty: its array has the '
                         f'shape {image.shape}; leave it out.')
    # A copy, since steps may write to it; contiguous, for OpenCV.
    image = np.array(image, order='C')
    shape = image.shape[:2]
    return dict(img=image, img_shape=shape, ori_shape=shape)


def _from_pillow(image: Image.Image, number: int) -> np.ndarray:
    """Return the pixels in BGR, as if they were read from an image file."""
    if image.mode.startswith(('I', 'F')):
        raise InputError(
            f'image number {number} has more than 8 bits per channel (mode '
            f'{image.mode}); give the path of its file, or an image of 8 '
            'bits.')
    if not min(image.size):
        raise InputError(f'image number {number} is empty: its size is '
                         f'{image.width}x{image.height}; leave it out.')
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode in _PNG_MODES:
            # This treats transparency in the same way as for files.
            file = io.BytesIO()
            image.save(file, 'png', compress_level=0)
            return mmcv.imfrombytes(file.getvalue(), backend='pillow')
        return np.asarray(image.convert('RGB'))[..., ::-1]
    # Pillow reads the pixels only here, and raises these for a broken file.
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f'image number {number}, a PIL image, cannot be read '
            f'({type(error).__name__}: {error}); replace it.') from error


def _advice(image: object) -> str:
    if isinstance(image, torch.Tensor):
        return ('; the channel order of a tensor is not known, so convert it, '
                'with `tensor.permute(1, 2, 0).numpy()[..., ::-1]` for '
                '(3, H, W) in RGB')
    if isinstance(image, bytes | bytearray):
        return ('; use `PIL.Image.open(io.BytesIO(data))` for the content of '
                'a file')
    return ''
