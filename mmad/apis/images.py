"""Read the forms in which a caller may give images to the inferencer."""
import glob
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import mmcv
import numpy as np
import torch
from PIL import Image, ImageOps

from mmad.datasets.files import IMAGE_SUFFIXES, list_names
from mmad.errors import InputError

from .video import VIDEO_SUFFIXES, Frame, Video

OneImage = str | os.PathLike | np.ndarray | Image.Image | Frame
Inputs = OneImage | int | Iterable[OneImage]
_EXPECTED = ('an image is a path, an (H, W, 3) uint8 array in BGR order, an '
             '(H, W) uint8 array or a PIL image')
# Modes that a PNG file can store without conversion.
_PNG_MODES = ('1', 'L', 'LA', 'P', 'RGBA')


def find_images(inputs: Inputs,
                without: Iterable[str | os.PathLike] = (),
                strict: bool = True) -> Iterable[OneImage | Video]:
    """List the single images in the argument of a caller.

    Images are not read, and an iterator is not advanced.

    Args:
        inputs: An image, a folder, a pattern such as ``'parts/*.png'``, a
            video file, the index or address of a camera, or several of these
            except for cameras, as a sequence or an iterator.
        without (Iterable[str | PathLike]): Folders below a given one that are
            not searched.
        strict (bool): Refuse a folder with the name of an image in it that
            leads nowhere, such as a broken link. Defaults to True.

    Returns:
        Iterable: The images and videos. It has a length unless the argument
        has none.

    Raises:
        InputError: If the argument has another type, a path does not exist, a
            folder contains no images, or a camera or a video file that is
            given alone cannot be opened.
    """
    if isinstance(inputs, np.ndarray | Image.Image):
        return [inputs]
    if isinstance(inputs, int) and not isinstance(inputs, bool):
        return Video(inputs).open()
    if isinstance(inputs, str | os.PathLike):
        found = _expand(inputs, without, strict)
        if found is None:
            raise InputError(
                f'image "{os.fsdecode(inputs)}" cannot be read: there is no '
                'file or folder of this name.')
        if len(found) == 1 and isinstance(found[0], Video):
            return found[0].open()
        return found
    if (isinstance(inputs, bytes | bytearray | Mapping | torch.Tensor)
            or not isinstance(inputs, Iterable)):
        raise InputError(
            f'cannot score a {type(inputs).__name__}: {_EXPECTED}, and '
            'several images are a list of them, a folder, a pattern or a '
            f'video{_advice(inputs)}.')
    if isinstance(inputs, list | tuple):
        return list(_flatten(inputs, without, strict))
    return _flatten(inputs, without, strict)


def find_roots(inputs: Inputs) -> list[str]:
    """List the folders among the inputs."""
    many = inputs if isinstance(inputs, list | tuple) else [inputs]
    return [
        os.fsdecode(one) for one in many
        if isinstance(one, str | os.PathLike) and os.path.isdir(one)
    ]


def count_images(images: Iterable[OneImage | Video]) -> int | None:
    """Count what :func:`find_images` found; None if that is not known."""
    if not isinstance(images, list) or any(
            isinstance(image, Video) for image in images):
        return None
    return len(images)


def frames_of(images: Iterable[OneImage | Video]) -> Iterator[OneImage]:
    """Iterate over images, and over the frames of the videos among them."""
    return chain.from_iterable(
        image if isinstance(image, Video) else (image, ) for image in images)


def _flatten(images: Iterable, without: Iterable,
             strict: bool) -> Iterator[OneImage | Video]:
    for image in images:
        found = None
        if isinstance(image, str | os.PathLike):
            found = _expand(image, without, strict)
        # What does not exist is named when its turn comes.
        yield from [image] if found is None else found


def _expand(given: str | os.PathLike, without: Iterable,
            strict: bool) -> list[OneImage | Video] | None:
    """List the images that a path stands for; None if there is nothing."""
    path = os.fsdecode(given)
    if os.path.isdir(path):
        found: list = list_names(path, without, strict)
        if not found:
            raise InputError(f'the folder "{path}" holds no images; name '
                             'another folder.')
        return found
    if os.path.lexists(path):
        return [_image_or_video(path, given)]
    if isinstance(given, str):
        if '://' in path:
            return [Video(path)]
        if glob.has_magic(path):
            return _match(path)
    return None


def _match(pattern: str) -> list[OneImage | Video]:
    found: list[OneImage | Video] = [
        _image_or_video(path, path)
        for path in sorted(set(glob.iglob(pattern, recursive=True)))
        if path.lower().endswith(IMAGE_SUFFIXES +
                                 VIDEO_SUFFIXES) and not os.path.isdir(path)
    ]
    if not found:
        raise InputError(
            f'the pattern "{pattern}" matches no image, which ends in one of '
            f'{" ".join(IMAGE_SUFFIXES)}; correct it.')
    return found


def _image_or_video(path: str,
                    given: str | os.PathLike) -> str | os.PathLike | Video:
    return Video(path) if path.lower().endswith(VIDEO_SUFFIXES) else given


def describe_image(image: OneImage, number: int) -> dict:
    """Make the input dict of a pipeline for an image.

    Args:
        image: A path, an array, a PIL image or a frame of a video.
        number (int): Position of the image, for the message.

    Returns:
        dict: Dict with ``img_path``, or with ``given``, a copy of the pixels,
        ``(H, W, 3)`` uint8 BGR.

    Raises:
        InputError: If the image has another type, or the array another shape
            or dtype.
    """
    if isinstance(image, str | os.PathLike):
        path = os.fsdecode(image)
        if os.path.isdir(path):
            raise InputError(
                f'image number {number}, "{path}", is a folder; name its '
                'images.')
        return dict(img_path=path)
    if isinstance(image, Frame):
        image = image.image
    if isinstance(image, Image.Image):
        image = _from_pillow(image, number)
    elif not isinstance(image, np.ndarray):
        raise InputError(
            f'image number {number} is a {type(image).__name__}, but '
            f'{_EXPECTED}{_advice(image)}.')
    is_gray = image.ndim == 2 or image.shape[2:] == (1, )
    is_color = image.ndim == 3 and image.shape[2] == 3
    if image.dtype != np.uint8 or not (is_gray or is_color):
        raise InputError(
            'an image array must be (H, W, 3) uint8 in BGR order or (H, W) '
            f'uint8, but image number {number} is {image.shape} '
            f'{image.dtype}.')
    if not image.size:
        raise InputError(f'image number {number} is empty: its array has the '
                         f'shape {image.shape}; leave it out.')
    # A copy, since steps may write to it; contiguous, for OpenCV.
    if is_gray:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    return dict(given=np.array(image, order='C'))


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
