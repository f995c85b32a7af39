import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmad.utils.arguments import check_choice, check_number

from .affine import MODES, affine_matrix, warp
from .gather_batch import gather_batch, own_part

_SIDE = 56
_WIDTH = 1024


class SpatialTransformer(nn.Module):
    """Spatial transformer of images or feature maps (arXiv 1506.02025).

    A localization network predicts an affine transform from the input, by
    which the input is resampled. The network is that of RegAD's code: a 3 x 3
    convolution to 64 channels, batch normalization, ReLU and max-pooling, the
    same to 16 channels, and two linear layers. Three things are added to it:

    - Inputs larger than 56 x 56 are averaged to that size, and the maps before
      the linear layers to a grid of fixed size, so that inputs may have any
      size.
    - Its output is multiplied by ``gain``; without that, one step of training
      can drive it to the limits of the transform.
    - Each number ``v`` of its output is limited to
      ``limit * tanh(v / limit)``; for a scale, ``v`` is the logarithm.

    Before training, the transform is the identity.

    Args:
        channels (int): Number of channels of the inputs.
        mode (str): What the transforms consist of: ``'translation'``,
            ``'rotation'``, ``'scale'``, ``'shear'``, ``'rotation_scale'``,
            ``'translation_scale'``, ``'rotation_translation'``,
            ``'rotation_translation_scale'`` or ``'affine'``, which is all
            four. Defaults to ``'rotation_translation'``.
        max_angle (float): Largest rotation in either direction, in degrees.
            Defaults to 30.
        max_shift (float): Largest translation in either direction, as a share
            of the image's side, of the point that a pixel is taken from.
            Defaults to 0.15.
        max_scale (float): Largest scale; the smallest is its inverse.
            Defaults to 1.25.
        max_shear (float): Largest shear in either direction. Defaults to 0.2.
        grid (int): Height and width of the maps that the linear layers see.
            Defaults to 7.
        gain (float): Factor on the output of the localization network. With
            plain gradient descent the speed of learning is proportional to
            its square. RegAD's code has 1. Defaults to 0.1.

    Raises:
        InputError: The mode is unknown or a number out of its range.
    """

    def __init__(self,
                 channels: int,
                 mode: str = 'rotation_translation',
                 max_angle: float = 30.0,
                 max_shift: float = 0.15,
                 max_scale: float = 1.25,
                 max_shear: float = 0.2,
                 grid: int = 7,
                 gain: float = 0.1) -> None:
        super().__init__()
        check_number('channels', channels, low=1, integer=True)
        check_choice('mode', mode, MODES)
        check_number('max_angle', max_angle, above=0, below=90)
        check_number('max_shift', max_shift, above=0, below=0.5)
        check_number('max_scale', max_scale, above=1)
        check_number('max_shear', max_shear, above=0, below=1)
        check_number('grid', grid, low=1, integer=True)
        check_number('gain', gain, above=0)
        self.mode = mode
        self.grid = grid
        self.gain = gain
        self.limits = dict(
            rotation=math.radians(max_angle),
            translation=2 * max_shift,
            scale=math.log(max_scale),
            shear=max_shear)
        self.convolutions = nn.Sequential(*_block(channels, 64),
                                          *_block(64, 16))
        self.linear = nn.Sequential(
            nn.Linear(16 * grid**2, _WIDTH), nn.ReLU(),
            nn.Linear(_WIDTH, sum(MODES[mode].values())))
        last: Any = self.linear[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def settings(self) -> dict:
        """Return the settings that the transforms depend on."""
        return dict(
            mode=self.mode, grid=self.grid, gain=self.gain, **self.limits)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the transforms and apply them.

        Args:
            inputs (Tensor): ``(B, C, H, W)``.

        Returns:
            tuple[Tensor, Tensor]: The warped inputs ``(B, C, H, W)`` and the
            matrices ``(B, 3, 3)`` of the transforms, see
            :mod:`~mmad.models.layers.affine`.
        """
        matrix = self.locate(inputs)
        return warp(inputs, matrix), matrix

    def locate(self, inputs: Tensor) -> Tensor:
        """Predict the transforms.

        In training, batch normalization has the statistics of the batches of
        all processes.

        Args:
            inputs (Tensor): ``(B, C, H, W)``.

        Returns:
            Tensor: Their matrices ``(B, 3, 3)``.
        """
        size = inputs.shape[-2], inputs.shape[-1]
        if max(size) > _SIDE:
            inputs = F.adaptive_avg_pool2d(inputs, _SIDE)
        if self.training:
            inputs = gather_batch(inputs)
        maps = F.adaptive_avg_pool2d(self.convolutions(inputs), self.grid)
        numbers = self.gain * self.linear(maps.flatten(1))
        # Half precision would be off by half a pixel.
        numbers = numbers.to(self.linear[-1].weight.dtype)
        parts = {
            name: numbers.new_zeros(numbers.shape[0], width)
            for name, width in dict(
                translation=2, rotation=1, scale=2, shear=2).items()
        }
        counts = MODES[self.mode]
        for (name, count), part in zip(counts.items(),
                                       numbers.split(list(counts.values()),
                                                     1)):
            limit = self.limits[name]
            parts[name] = F.pad(limit * torch.tanh(part / limit),
                                (0, parts[name].shape[1] - count))
        parts['scale'] = parts['scale'].exp()
        matrices = affine_matrix(**parts, size=size)
        return own_part(matrices) if self.training else matrices


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1)
    ]
