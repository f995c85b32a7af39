import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.utils.arguments import check_choice, check_number

# Values of an image from which on the result is filled in a few channels at a
# time, so that it is the only tensor of its size.
_LARGE = 1 << 25
_CHANNELS = 32


class PatchFeatures(nn.Module):
    """Locally aware patch features of several stages on one grid.

    They are those of PatchCore (arXiv 2106.08265), section 3.1, in one of two
    variants:

    - ``'concat'``: each stage is averaged over its 3x3 neighborhoods
      (eq. 1-3; zero padding counts in the mean) and resized bilinearly to the
      grid of the first stage; then the stages are concatenated, so that
      ``D = sum of C_k``.
    - ``'official'``: the embedding of the authors' code. The 3x3 patch of a
      stage is flattened (channel first) and average-pooled to ``stage_dim``
      values; the stages, resized to the grid of the first, are concatenated
      and average-pooled to ``dim``, so that ``D = dim``. All of this is
      linear, and one grouped convolution for each stage does most of it.

    Args:
        embedding (str): ``'concat'`` or ``'official'``. Defaults to
            ``'concat'``.
        patch_size (int): Side of the neighborhood, an odd number. Defaults to
            3.
        dim (int): Length of the ``'official'`` embedding. Defaults to 1024.
        stage_dim (int, optional): Length of each stage in it. Defaults to
            None: ``dim``.

    Raises:
        InputError: An argument is out of its range.
    """

    def __init__(self,
                 embedding: str = 'concat',
                 patch_size: int = 3,
                 dim: int = 1024,
                 stage_dim: int | None = None) -> None:
        super().__init__()
        check_choice('embedding', embedding, ('concat', 'official'))
        check_number('patch_size', patch_size, low=1, integer=True)
        check_number('dim', dim, low=1, integer=True)
        check_number(
            'stage_dim', stage_dim, low=1, integer=True, optional=True)
        if patch_size % 2 == 0:
            raise InputError(
                f'`patch_size` must be odd and positive, got {patch_size}.')
        self.embedding = embedding
        self.patch_size = patch_size
        self.dim = dim
        self.stage_dim = dim if stage_dim is None else stage_dim

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Combine the stages.

        Args:
            maps (Sequence[Tensor]): ``(B, C_k, H_k, W_k)`` for each stage; the
                first has the grid of the result.

        Returns:
            Tensor: ``(B, D, H_1, W_1)``.
        """
        grid = maps[0].shape[-2:]
        if self.embedding == 'official':
            length, rest = divmod(len(maps) * self.stage_dim, self.dim)
            # So many pooled values of a stage in a row are in the same mean.
            share = 1 if rest else math.gcd(self.stage_dim, length)
            joined = torch.cat(
                [_resize(self._pool(level, share), grid) for level in maps], 1)
            if rest:
                return _pool_channels(joined, self.dim)
            if share == length:
                return joined
            return joined.unflatten(1, (self.dim, -1)).mean(2)
        channels = [level.shape[1] for level in maps]
        if grid.numel() * sum(channels) < _LARGE:
            return torch.cat(
                [_resize(self._average(level), grid) for level in maps], 1)
        joined = maps[0].new_empty(len(maps[0]), sum(channels), *grid)
        for level, target in zip(maps, joined.split(channels, 1)):
            for own, part in zip(
                    target.split(_CHANNELS, 1), level.split(_CHANNELS, 1)):
                own.copy_(_resize(self._average(part), grid))
        return joined

    def _average(self, features: Tensor) -> Tensor:
        return F.avg_pool2d(features, self.patch_size, 1, self.patch_size // 2)

    def _pool(self, features: Tensor, share: int) -> Tensor:
        kernel = torch.from_numpy(
            _pooling_kernel(features.shape[1], self.stage_dim, share,
                            self.patch_size)).to(features)
        return F.conv2d(
            features,
            kernel,
            padding=self.patch_size // 2,
            groups=features.shape[1] // kernel.shape[1])


# An array, since a tensor would belong to the graph that asks for it first.
@torch.compiler.disable
@lru_cache(maxsize=16)
def _pooling_kernel(channels: int, dim: int, share: int,
                    patch_size: int) -> np.ndarray:
    """Weights of the convolution that pools the flattened patches.

    Each is a mean over ``share`` of the ``dim`` values that adaptive average
    pooling makes of the ``C p^2`` values of a patch.

    Returns:
        np.ndarray: ``(dim / share, C / G, p, p)`` float64, for as many groups
        ``G`` as there can be.
    """
    groups = math.gcd(channels, dim // share)
    values, size = dim // groups, channels // groups * patch_size**2
    kernel = np.zeros((values, size))
    for i in range(values):
        window = slice(i * size // values, -(-(i + 1) * size // values))
        kernel[i, window] = 1 / (window.stop - window.start)
    kernel = kernel.reshape(-1, share, size).mean(1)
    return np.tile(
        kernel.reshape(-1, channels // groups, patch_size, patch_size),
        (groups, 1, 1, 1))


def _resize(level: Tensor, grid: Sequence[int]) -> Tensor:
    if level.shape[-2:] == grid:
        return level
    return F.interpolate(level, size=grid, mode='bilinear')


def valid_patches(inside: Tensor, grid: Sequence[int]) -> Tensor:
    """Find the patches whose cell shows some of the image.

    Args:
        inside (Tensor): ``(B, 1, H, W)`` bool, True for the pixels of the
            image and False for those of its padding.
        grid (Sequence[int]): Height and width of the grid of patches.

    Returns:
        Tensor: ``(B, 1, h, w)`` bool.
    """
    return F.adaptive_max_pool2d(inside.float(), tuple(grid)) > 0


def _pool_channels(features: Tensor, dim: int) -> Tensor:
    pooled = F.adaptive_avg_pool1d(features.flatten(2).transpose(1, 2),
                                   dim).transpose(1, 2)
    return pooled.unflatten(2, features.shape[-2:])
