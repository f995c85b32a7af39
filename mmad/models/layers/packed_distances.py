from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from .row_scan import CACHE, FAST_MATH

# Numbers of float32 in a line of the cache.
_LINE = 16
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
    parts = iter(list(pairwise(bounds)))

    def fill() -> None:
        for start, stop in parts:
            _fill_distances(  # type: ignore[call-arg]
                *arrays, start, min(stop, len(factor)))

    threads = torch.get_num_threads()
    # Threads start with the first part that is submitted, if any.
    with ThreadPoolExecutor(threads) as pool:
        others = [pool.submit(fill) for _ in range(threads - 1)]
        fill()
    for other in others:
        other.result()
    return distances


@intrinsic
def _prefetch(typing_context, numbers, place):
    """Have the CPU read an entry of an array ``(N,)``, without waiting."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(numbers)(context, builder, arguments[0])
        entry = builder.bitcast(
            builder.gep(array.data, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(),
                            [cgutils.voidptr_t, number, number, number]),
            'llvm.prefetch.p0i8')
        # To be read, into all caches, and data.
        builder.call(function, [entry, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(numbers, types.intp), generate


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
                    for k in range(row * width, (row + 1) * width, _LINE):
                        _prefetch(following, k)  # type: ignore[call-arg]
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
