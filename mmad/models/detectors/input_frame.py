"""Checks of the images that reach a detector, and of what it makes of them."""
from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from mmad.errors import InputError
from mmad.structures import AnomalyDataSample
from mmad.structures.frame import scored_window

_ONE_SIZE = ('all images must reach the model in one size: put Resize with '
             'keep_ratio=False, or Letterbox, into the pipeline.')


def common_size(inputs: Tensor,
                samples: Sequence[AnomalyDataSample]) -> tuple[int, int]:
    """Find the height and width of images, none of which was padded.

    Args:
        inputs (Tensor): ``(B, 3, H, W)``.
        samples (Sequence[AnomalyDataSample]): Those of the images.

    Raises:
        InputError: The images are no batch, or one of them was padded.
    """
    if not isinstance(inputs, Tensor):
        raise InputError(
            'images do not come as a batch; set `model.data_preprocessor` to '
            'dict(type="ImgDataPreprocessor").')
    size = inputs.shape[-2], inputs.shape[-1]
    for sample in samples:
        own = sample.get('img_shape')
        if own is not None and tuple(own[:2]) != size:
            raise InputError(
                f'image "{sample.get("img_path")}" of {_shown(own)} was '
                f'padded to {_shown(size)}, by `pad_size_divisor` or for the '
                f'others of its batch; {_ONE_SIZE}')
    return size


def refuse_size(size: Sequence[int], known: Sequence[int],
                samples: Sequence[AnomalyDataSample]) -> NoReturn:
    """Raise :class:`InputError` for images of another size than before."""
    first = samples[0].get('img_path') if samples else None
    raise InputError(
        f'image "{first}" is {_shown(size)}, but those before, in the fit or '
        f'in prediction, were {_shown(known)}; {_ONE_SIZE}')


def find_borders(inputs: Tensor,
                 samples: Sequence[AnomalyDataSample]) -> Tensor | None:
    """Find the pixels that show images, without the border of a letterbox.

    Args:
        inputs (Tensor): ``(B, 3, H, W)``.
        samples (Sequence[AnomalyDataSample]): Those of the images.

    Returns:
        Tensor | None: ``(B, 1, H, W)`` bool, False in the border; None where
        no image has one.
    """
    size = inputs.shape[-2], inputs.shape[-1]
    windows = [_image_window(sample, size) for sample in samples]
    whole = tuple(slice(0, side) for side in size)
    if all(window == whole for window in windows):
        return None
    inside = inputs.new_zeros(len(inputs), 1, *size, dtype=torch.bool)
    for i, window in enumerate(windows):
        inside[(i, 0, *window)] = True
    return inside


def refuse_border(inside: Tensor, samples: Sequence[AnomalyDataSample],
                  detector: str) -> NoReturn:
    """Raise :class:`InputError` for a border that a detector cannot omit."""
    first = int(inside.flatten(1).all(1).int().argmin())
    raise InputError(
        f'image "{samples[first].get("img_path")}" has the border of a '
        f'letterbox, which {detector} cannot leave out; use Resize with '
        'keep_ratio=False in place of Letterbox, or PatchCore.')


def blank(inputs: Tensor, inside: Tensor) -> Tensor:
    """Set values to zero where a mask is False."""
    return inputs.where(inside, torch.zeros_like(inputs))


def check_finite(scores: Tensor, maps: Tensor,
                 samples: Sequence[AnomalyDataSample]) -> None:
    """Check that scores ``(B,)`` and maps ``(B, 1, H, W)`` are finite.

    Raises:
        InputError: One is not; the message names its image.
    """
    finite = scores.isfinite() & maps.isfinite().flatten(1).all(1)
    if not finite.all():
        image = samples[int(finite.int().argmin())].get('img_path')
        raise InputError(
            f'image "{image}" has a score or an anomaly map that is not '
            'finite; check the weights of the model and the normalization of '
            'the images.')


def _image_window(sample: AnomalyDataSample,
                  size: tuple[int, int]) -> tuple[slice, slice]:
    # What is resized or padded behind a crop has no border of a letterbox,
    # which is as wide on both sides.
    if min(sample.get('crop_offset', (0, 0))) >= 0:
        height, width = size
        return slice(0, height), slice(0, width)
    return scored_window(sample, size)


def _shown(size: Sequence[int]) -> str:
    return f'{size[1]}x{size[0]} pixels'
