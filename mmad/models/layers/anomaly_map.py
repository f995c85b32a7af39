from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from mmad.utils.arguments import check_number

# The time to compute a matrix grows with sigma.
_MAX_SIGMA = 1000


class AnomalyMap(nn.Module):
    """Up-sample a grid of patch scores to the input size and smooth it.

    Bilinear interpolation (``align_corners=False``) is followed by a Gaussian
    with a symmetric border and a radius of four standard deviations, which is
    ``scipy.ndimage.gaussian_filter`` with its defaults. Both are linear and
    separable, so that one small matrix per axis does both at once and the time
    does not depend on ``sigma``.

    Args:
        sigma (float): Standard deviation of the Gaussian in input pixels, at
            most 1000; 0 for no smoothing. Defaults to 4, as in SPADE, PaDiM
            and PatchCore.

    Raises:
        InputError: ``sigma`` is out of its range.
    """

    def __init__(self, sigma: float = 4.0) -> None:
        super().__init__()
        check_number('sigma', sigma, low=0, high=_MAX_SIGMA)
        self.sigma = sigma

    def forward(self,
                scores: Tensor,
                size: tuple[int, int],
                valid: Tensor | None = None) -> Tensor:
        """Turn patch scores into maps.

        Args:
            scores (Tensor): ``(B, 1, h, w)``.
            size (tuple[int, int]): Height and width of the maps in pixels.
            valid (Tensor, optional): ``(B, 1, h, w)`` bool, the patches to
                use. The weights of the others are 0, and the sum of the
                remaining ones is scaled to 1. Defaults to None: all.

        Returns:
            Tensor: ``(B, 1, H, W)``; 0 where no valid patch comes near.
        """
        rows, columns = (
            torch.from_numpy(upsample_and_smooth(old, new,
                                                 self.sigma)).to(scores)
            for old, new in zip(scores.shape[-2:], size, strict=True))
        if valid is None:
            return rows @ scores @ columns.T
        maps = rows @ scores.where(valid, torch.zeros_like(scores)) @ columns.T
        weights = rows @ valid.to(scores) @ columns.T
        # Exactly 1 for images without invalid patches.
        weights = weights.where(~valid.all((2, 3), keepdim=True),
                                torch.ones_like(weights))
        return maps / weights.clamp_min(torch.finfo(weights.dtype).tiny)


# Compiled code would compute the matrix anew instead of looking it up.
@torch.compiler.disable
@lru_cache(maxsize=16)
def upsample_and_smooth(old: int, new: int, sigma: float) -> np.ndarray:
    """Return the matrix ``(new, old)`` float64 of the operation on an axis."""
    # An array: a tensor would belong to the graph, or to the mode without
    # gradients, in which it happens to be asked for first.
    places = (np.arange(new) + 0.5) * (old / new) - 0.5
    matrix = np.array(
        [np.interp(places, np.arange(old), row) for row in np.eye(old)])
    if sigma > 0:
        matrix = gaussian_filter1d(matrix, sigma, axis=1)
    return np.ascontiguousarray(matrix.T)
