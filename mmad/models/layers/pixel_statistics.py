from fractions import Fraction

import torch
import torch.distributed as dist
from torch import Tensor

from mmad.errors import InputError

from .fitted_module import FittedModule
from .processes import world_size


class PixelStatistics(FittedModule):
    """Mean and standard deviation of maps over all pixels of many images.

    The moments of each image are computed by themselves, in float64, and
    added up as exact fractions. So the result does not depend on the order of
    the images or on which process saw which, and no large sums lose digits.
    The denominators are powers of two in the range of float64, so a sum has
    some hundred bits, and memory does not grow with the number of images.

    Args:
        subject (str): What the maps are, as an error names it.

    Attributes:
        mean (Tensor): ``(C,)`` float32.
        std (Tensor): ``(C,)`` float32, with the number of pixels as divisor.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, subject: str) -> None:
        super().__init__()
        self.subject = subject
        self.register_fitted('mean')
        self.register_fitted('std')

    def reset(self) -> None:
        super().reset()
        # Of each channel: sum of the values and of their squares.
        self._count = 0
        self._sums: list[list[Fraction]] | None = None

    def update(self, features: Tensor, ids: list[int]) -> None:
        """Add the pixels of maps ``(B, C, H, W)`` to the sums.

        Raises:
            InputError: A value is not finite.
        """
        values = features.detach().flatten(2).double()
        if not values.isfinite().all():
            raise self._useless()
        mean = values.mean(2)
        spread = (values - mean[:, :, None]).square().sum(2)
        number = values.shape[2]
        self._count += len(values) * number
        if self._sums is None:
            self._sums = [[Fraction(0), Fraction(0)] for _ in mean[0]]
        for means, spreads in zip(mean.tolist(), spread.tolist()):
            for sums, m, s in zip(self._sums, map(Fraction, means), spreads):
                sums[0] += number * m
                sums[1] += number * m**2 + Fraction(s)

    def finalize(self) -> None:
        """Turn the sums of all processes into means and deviations.

        Raises:
            InputError: A channel has the same value at all pixels.
        """
        parts: list = [(self._count, self._sums)]
        if world_size() > 1:
            parts = [None] * world_size()
            dist.all_gather_object(parts, (self._count, self._sums))
        count = sum(count for count, _ in parts)
        means, variances = [], []
        for channel in zip(*(sums for _, sums in parts if sums)):
            total, squares = (sum(values) for values in zip(*channel))
            means.append(float(total / count))
            variances.append(float(squares / count - (total / count)**2))
        self._sums = None
        if min(variances) <= 0:
            raise self._useless()
        self.mean = self.mean.new_tensor(means)
        self.std = self.std.new_tensor(
            torch.tensor(variances, dtype=torch.float64).sqrt().tolist())

    def forward(self, maps: Tensor) -> Tensor:
        """Bring maps ``(B, C, H, W)`` to mean 0 and deviation 1."""
        return (maps - self.mean[:, None, None]) / self.std[:, None, None]

    def _useless(self) -> InputError:
        return InputError(
            f'{self.subject} gives values that are not finite or the same at '
            'all pixels of the normal images; train it longer, and check the '
            'images and their normalization.')
