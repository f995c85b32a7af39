from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np
import torch
from torch import Tensor

# Those for sums in another order; NaN and infinity stay what they are.
_FAST_MATH = {'reassoc', 'contract', 'nsz'}


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
    threads = torch.get_num_threads()
    bounds = np.linspace(0, len(factor), threads + 1).astype(int).tolist()
    *others, last = pairwise(bounds)
    # Threads start with the first part that is submitted, if any.
    with ThreadPoolExecutor(threads) as pool:
        parts = [
            pool.submit(_fill_distances, *arrays,
                        *part)  # type: ignore[call-arg]
            for part in others
        ]
        _fill_distances(*arrays, *last)  # type: ignore[call-arg]
    for part in parts:
        part.result()
    return distances


@numba.njit(nogil=True, fastmath=_FAST_MATH)
def _fill_distances(factor, mean, samples, distances, start, stop):
    """Compute the distances at the positions from start to stop."""
    number, _, dim = samples.shape
    height, width = factor.shape[1:]
    rest = dim - width
    x = np.empty(dim, np.float32)
    y = np.empty(dim, np.float32)
    product = np.empty(dim, np.float32)
    product2 = np.empty(dim, np.float32)
    for p in range(start, stop):
        # Always two samples: one alone could be summed up in another order.
        for i in range(0, number, 2):
            j = min(i + 1, number - 1)
            for k in range(dim):
                x[k] = samples[i, p, k] - mean[p, k]
                y[k] = samples[j, p, k] - mean[p, k]
            for row in range(dim):
                a = b = np.float32(0)
                for k in range(min(row + 1, width)):
                    entry = factor[p, height - dim + row, k]
                    a += entry * x[k]
                    b += entry * y[k]
                product[row] = a
                product2[row] = b
            # The right triangle lies transposed, a column in each row.
            for column in range(0, rest, 2):
                entry = factor[p, column, width - rest + column]
                product[width + column] += entry * x[width + column]
                product2[width + column] += entry * y[width + column]
                if column + 1 < rest:
                    a, b = x[width + column], y[width + column]
                    c, d = x[width + column + 1], y[width + column + 1]
                    for row in range(column + 1, rest):
                        entry = factor[p, column, width - rest + row]
                        entry2 = factor[p, column + 1, width - rest + row]
                        product[width + row] += entry * a + entry2 * c
                        product2[width + row] += entry * b + entry2 * d
            a = b = np.float32(0)
            for k in range(dim):
                a += product[k] * product[k]
                b += product2[k] * product2[k]
            distances[i, p] = np.sqrt(a)
            distances[j, p] = np.sqrt(b)
