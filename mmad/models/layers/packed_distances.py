from itertools import pairwise

import numba
import numpy as np
import torch
from torch import Tensor

from .row_scan import CACHE, FAST_MATH, LINE, prefetch
from .thread_parts import for_each

# Those that a thread does at a time: few enough for all to end together.
_POSITIONS = 256


def takes_packed_distances(factor: Tensor, samples: Tensor) -> bool:
    """Whether :func:`packed_distances` can take these tensors.

    It takes float32 on a CPU, and neither computes gradients nor becomes part
    of a graph.
    """
    return (samples.device.type == factor.device.type == 'cpu'
            and samples.dtype == factor.dtype == torch.float32
            and not torch.compiler.is_compiling()
            and not (samples.requires_grad and torch.is_grad_enabled()))


def packed_distances(factor: Tensor, mean: Tensor, samples: Tensor) -> Tensor:
    """Compute Mahalanobis distances on a CPU, reading each factor once.

    The distance of a sample is rounded alike whatever the number of samples
    and of threads.

    Args:
        factor (Tensor): ``(P, H, w)`` float32, inverse Cholesky factors, see
            :mod:`~mmad.models.layers.packed_triangle`.
        mean (Tensor): ``(P, D)`` float32.
        samples (Tensor): ``(B, P, D)`` float32.

    Returns:
        Tensor: ``(B, P)`` float32.
    """
    distances = samples.new_empty(samples.shape[:2])
    arrays = [
        tensor.detach().contiguous().numpy()
        for tensor in (factor, mean, samples, distances)
    ]
    bounds = range(0, len(factor) + _POSITIONS, _POSITIONS)
    for_each(
        lambda part: _fill_distances(  # type: ignore[call-arg]
            *arrays, part[0], min(part[1], len(factor))),
        pairwise(bounds))
    return distances


@numba.njit(nogil=True, cache=CACHE, fastmath=FAST_MATH)
def _fill_distances(factor, mean, samples, distances, start, stop):
    """Compute the distances at the positions from start to stop."""
    number, _, dim = samples.shape
    height, width = factor.shape[1:]
    rest = dim - width
    x = np.empty(dim, np.float32)
    product = np.empty(dim, np.float32)
    for p in range(start, stop):
        # The next factor is on its way while this one is used.
        following = factor[min(p + 1, stop - 1)].reshape(-1)
        for i in range(number):
            for k in range(dim):
                x[k] = samples[i, p, k] - mean[p, k]
            for row in range(dim):
                a = np.float32(0)
                for k in range(min(row + 1, width)):
                    a += factor[p, height - dim + row, k] * x[k]
                product[row] = a
                if i == 0:
                    for k in range(row * width, (row + 1) * width, LINE):
                        prefetch(following, k)  # type: ignore[call-arg]
            # The right triangle lies transposed, a column in each row.
            for column in range(0, rest, 2):
                product[width + column] += factor[p, column, width - rest +
                                                  column] * x[width + column]
                if column + 1 < rest:
                    a, b = x[width + column], x[width + column + 1]
                    for row in range(column + 1, rest):
                        entry = factor[p, column, width - rest + row]
                        entry2 = factor[p, column + 1, width - rest + row]
                        product[width + row] += entry * a + entry2 * b
            a = np.float32(0)
            for k in range(dim):
                a += product[k] * product[k]
            distances[i, p] = np.sqrt(a)
