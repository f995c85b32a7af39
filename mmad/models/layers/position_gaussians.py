from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmad.errors import InputError
from mmad.utils.arguments import check_number

from .exact_sums import to_fixed_point
from .exporting import is_exporting
from .fitted_module import FittedModule
from .inverse_cholesky import invert_cholesky, shifted_norms
from .packed_distances import packed_distances, takes_packed_distances
from .packed_triangle import (
    add_gram,
    pack,
    packed_masks,
    packed_matmul,
    packed_shape,
    unpack,
)
from .processes import all_reduce_

# Matrix entries that are worked on at a time, so that they stay in the caches.
_BLOCK = 1 << 19

_GROUP = 16  # images scored at a time
_GATHERED = 32  # images whose products are added at a time

# 1.5e-5, far below the standard deviation of 0.1 that the paper's epsilon
# adds; sums are exact for 8192 images with features up to 16.
_BITS = 16

# How far rounding may lift the share of an image in the fit.
_SLACK = 1e-3

# Below it the rounding of the sums decides what a covariance is.
_MIN_EPSILON = 1e-9


class PositionGaussians(FittedModule):
    """A multivariate Gaussian at each position of a grid, fitted in one pass.

    PaDiM (arXiv 2011.08785), eq. 1: at position (i, j) the mean of the
    training features and their covariance
    ``1 / (N - 1) sum (x - mean)(x - mean)^T + epsilon I``. Only sums are kept
    while fitting, in float64, so memory does not depend on N. Features are
    rounded to multiples of 2^-16 for them, which makes the sums exact and so
    the result the same for any number of processes.

    Kept are the means and, with the covariance ``L L^T``, the inverse of its
    Cholesky factor ``L``, in half the memory of a square matrix. There is no
    inverse of a covariance at any time.

    From the distance of an image that is left out, its own share in mean and
    covariance is taken exactly.
    No image is scored lower by that than by the fit with it.

    Args:
        epsilon (float): Added to the diagonal, at least 1e-9. Defaults to
            0.01.

    Raises:
        InputError: ``epsilon`` is out of its range.

    Attributes:
        count (Tensor): ``(1,)`` int64, ``N``.
        mean (Tensor): ``(h, w, D)`` float32.
        factor (Tensor): ``(h w, ...)`` float32, ``L^-1`` as
            :mod:`~mmad.models.layers.packed_triangle` stores it.
    """

    forgets_features = True
    progress_is_whole = True
    can_leave_out = True
    count: Tensor
    mean: Tensor
    factor: Tensor

    def __init__(self, epsilon: float = 0.01) -> None:
        super().__init__()
        check_number('epsilon', epsilon, low=_MIN_EPSILON)
        self.epsilon = epsilon
        self.register_fitted('count', dtype=torch.int64)
        self.register_fitted('mean', ndim=3)
        self.register_fitted('factor', ndim=3)

    def reset(self) -> None:
        super().reset()
        self._count = 0
        self._grid = torch.Size((0, 0))
        self._sum = self._products = torch.empty(0)
        self._gathered: list[Tensor] = []

    @property
    def num_fitted(self) -> int:
        return int(self.count)

    def reopen(self) -> None:
        """Find the sums again, see :meth:`FittedModule.reopen`.

        That of the products is, after eq. 1,
        ``(N - 1) (L L^T - epsilon I) + N mean mean^T``. The factor has the
        rounding of float32, which moves distances as little as it does in
        prediction.
        """
        count = int(self.count)
        mean = self.mean.flatten(0, 1).double()
        positions, dim = mean.shape
        unit = torch.eye(dim).to(mean)
        self._grid, self._gathered = self.mean.shape[:2], []
        self._count, self._sum = count, mean * count
        self._products = mean.new_empty(positions, *packed_shape(dim))
        for rows in self._blocks(positions, dim):
            inverse = unpack(self.factor[rows].double(), dim)
            lower = torch.linalg.solve_triangular(
                inverse, unit.expand_as(inverse), upper=False)
            products = (count - 1) * (lower @ lower.mT - self.epsilon * unit)
            center = mean[rows, :, None]
            self._products[rows] = pack(
                products.baddbmm_(center, center.mT, alpha=count))

    def forget(self, ids: list[int], features: Any = None) -> None:
        """Take the features of images out of the sums.

        Args:
            ids (list[int]): Numbers of the images.
            features (Tensor): ``(B, D, h, w)``.

        Raises:
            InputError: The grid is not the one of the fit, no image would be
                left, or one was not in the fit.
        """
        self._check(features, self._grid)
        samples = _by_position(features)
        # Refuses what was not fitted.
        self._distances_left_out(samples)
        if self._count <= len(features):
            raise InputError('all images would be forgotten; keep some.')
        for total in (self._sum, self._products):
            total.neg_()
        self._count -= len(features)
        self._gathered = [samples]
        self._add_gathered()
        for total in (self._sum, self._products):
            total.neg_()

    def update(self, features: Tensor, ids: list[int]) -> None:
        """Add features ``(B, D, h, w)`` of new images to the sums.

        Raises:
            InputError: The grid is not the one of the features before.
        """
        samples = _by_position(features)
        if not len(self._sum):
            positions, _, dim = samples.shape
            self._sum = samples.new_zeros(positions, dim, dtype=torch.float64)
            self._products = self._sum.new_zeros(positions, *packed_shape(dim))
            self._grid = features.shape[-2:]
        self._check(features, self._grid)
        self._count += len(features)
        self._gathered.append(samples)
        if sum(part.shape[1] for part in self._gathered) >= _GATHERED:
            self._add_gathered()

    def progress_state(self, ids: list[int]) -> dict[str, Tensor]:
        # The sums are exact, so it does not matter when they are formed.
        if self._gathered:
            self._add_gathered()
        return dict(
            count=torch.tensor(self._count),
            grid=torch.tensor(self._grid),
            sum=self._sum,
            products=self._products)

    def load_progress_state(self, state: dict[str, Tensor]) -> None:
        self._count, self._gathered = int(state['count']), []
        self._grid = torch.Size(state['grid'].tolist())
        self._sum = state['sum'].to(self.mean.device)
        self._products = state['products'].to(self.mean.device)

    def _add_gathered(self) -> None:
        masks = packed_masks(self._sum.shape[1], self._products)
        for rows in self._blocks(*self._sum.shape):
            samples = torch.cat(
                [to_fixed_point(part[rows], _BITS) for part in self._gathered],
                1)
            self._sum[rows] += samples.sum(1)
            add_gram(self._products[rows], samples.mT, masks)
        self._gathered = []

    def finalize(self) -> None:
        """Turn the sums of all processes into means and factors.

        Raises:
            InputError: A covariance is singular.
        """
        if self._gathered:
            self._add_gathered()
        count = int(all_reduce_(torch.tensor(self._count)))
        mean = all_reduce_(self._sum) / count
        positions, dim = mean.shape
        device = self.mean.device
        factor = torch.empty(positions, *packed_shape(dim), device=device)
        for rows in self._blocks(positions, dim):
            products = self._products[rows]
            all_reduce_(products)
            # Eq. 1: sum of x x^T - N mean mean^T, divided by N - 1.
            covariance = unpack(products, dim)
            center = mean[rows, :, None]
            covariance.baddbmm_(center, center.mT, alpha=-count)
            covariance.div_(max(count - 1, 1)).diagonal(
                dim1=1, dim2=2).add_(self.epsilon)
            try:
                inverse = invert_cholesky(covariance)
            except torch.linalg.LinAlgError as error:
                raise InputError(
                    'a covariance of the features is singular; raise '
                    f'`epsilon` (now {self.epsilon}), or check the weights.'
                ) from error
            factor[rows] = pack(inverse).to(factor)
        self._count = 0
        self._sum = self._products = torch.empty(0)
        self.count = self.count.new_tensor([count])
        self.mean = mean.to(self.mean).unflatten(0, self._grid)
        self.factor = factor

    def forward(self, features: Tensor) -> Tensor:
        """Mahalanobis distances (eq. 2) from the means.

        Args:
            features (Tensor): ``(B, D, h, w)``.

        Returns:
            Tensor: ``(B, 1, h, w)``.

        Raises:
            InputError: The grid is not the one of the fit; or images are left
                out of it and there are fewer than 3, or they were not in it.
        """
        self._check(features, self.mean.shape[:2])
        samples = _by_position(features)
        if self.left_out is not None:
            distances = torch.cat([
                self._distances_left_out(group)
                for group in samples.split(_GROUP, 1)
            ])
        elif takes_packed_distances(self.factor, features):
            distances = packed_distances(self.factor, self.mean.flatten(0, 1),
                                         samples.transpose(0, 1))
        elif is_exporting():
            distances = self._distances(samples)
        else:
            # In groups of one size, a product is rounded alike for an image
            # whatever others are in its batch.
            distances = torch.cat([
                self._distances(
                    F.pad(group, (0, 0, 0, _GROUP - group.shape[1])))
                for group in samples.split(_GROUP, 1)
            ])[:len(features)]
        return distances[:, None].unflatten(2, features.shape[-2:])

    def _distances(self, samples: Tensor) -> Tensor:
        """Compute the distances ``(B, P)`` of samples ``(P, B, D)``."""
        mean = self.mean.flatten(0, 1)
        masks = packed_masks(mean.shape[1], self.factor)
        blocks = [slice(None)] if is_exporting() else self._blocks(*mean.shape)
        return torch.cat([
            torch.linalg.vector_norm(
                packed_matmul(self.factor[rows],
                              (samples[rows] - mean[rows, None]).mT, masks),
                dim=1) for rows in blocks
        ]).T

    def _distances_left_out(self, samples: Tensor) -> Tensor:
        """Compute the distances from a fit without the image itself.

        Taking ``x = mean + d`` out of ``n`` images leaves the covariance
        ``c (B - b d d^T)`` with ``B = A - epsilon / (n - 1) I``, where ``A``
        is that of all, ``b = n / (n - 1)^2`` and ``c = (n - 1) / (n - 2)``;
        and the new mean is ``n / (n - 1) d`` away from ``x``. So, after
        Sherman and Morrison, with ``q = d^T B^-1 d`` the squared distance is
        ``(n / (n - 1))^2 / c q / (1 - b q)``.

        Args:
            samples (Tensor): ``(P, B, D)``, of images of the fit.

        Returns:
            Tensor: ``(B, P)``.
        """
        n = int(self.count)
        if n < 3:
            raise InputError(
                f'only {n} images were fitted, so none can be left out; add '
                'images: 3 are the least.')
        shift = n / (n - 1)
        mean = self.mean.flatten(0, 1)
        distances = []
        for rows in self._blocks(*mean.shape):
            inverse = unpack(self.factor[rows].double(), mean.shape[1])
            # As the sums have them.
            values = to_fixed_point(samples[rows], _BITS)
            offset = values - mean[rows, None]
            share = shift / (n - 1) * shifted_norms(
                inverse, offset, self.epsilon / (n - 1), self.epsilon)
            if (share > 1 + _SLACK).any():
                raise InputError(
                    'an image to be left out was not among those fitted as '
                    'it is now; leaving out needs the same pipeline as the '
                    'fit, without random transforms.')
            # No covariance is below epsilon I.
            most = offset.square().sum(2) * shift**2 / self.epsilon
            square = n * (n - 2) / (n - 1) * share / (1 - share).clamp(
                min=torch.finfo(share.dtype).tiny)
            distances.append(square.minimum(most).sqrt())
        return torch.cat(distances).T.to(samples)

    @staticmethod
    def _check(features: Tensor, expected: torch.Size) -> None:
        grid = features.shape[-2:]
        if grid != expected:
            raise InputError(
                f'a grid of {grid[0]} x {grid[1]} positions instead of '
                f'{expected[0]} x {expected[1]}; all images must reach the '
                'model in one size: resize or crop them in the pipeline.')

    @staticmethod
    def _blocks(positions: int, dim: int) -> list[slice]:
        step = max(1, _BLOCK // dim**2)
        return [
            slice(start, start + step) for start in range(0, positions, step)
        ]


def _by_position(features: Tensor) -> Tensor:
    """``(B, D, h, w)`` as ``(h w, B, D)``."""
    return features.flatten(2).permute(2, 0, 1)
