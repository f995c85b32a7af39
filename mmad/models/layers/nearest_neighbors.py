from typing import Any

import torch
from torch import Tensor

from .exporting import is_exporting

# Entries of one block of the distance matrix: 16 MB stay near the caches.
_BLOCK = 1 << 22
# Rows of a block in an exported graph: 13 MB for the 784 patches of an image.
_EXPORTED_WIDTH = 1 << 12


def squared_norms(rows: Tensor) -> Tensor:
    """Compute squared Euclidean norms ``(N,)`` of rows ``(N, D)``."""
    step = max(1, _BLOCK // max(1, rows.shape[1]))
    return torch.cat([block.square().sum(1) for block in rows.split(step)])


def are_products_exact() -> bool:
    """Whether matrix products take all bits of float32 numbers."""
    try:
        return torch.get_float32_matmul_precision() == 'highest'
    except RuntimeError:
        # PyTorch 2.9 or later has no answer once a back end has a precision of
        # its own, such as ``torch.backends.cuda.matmul.fp32_precision``.
        return False


def nearest_rows(queries: Tensor, rows: Tensor, norms: Tensor,
                 k: int) -> Tensor:
    """Find the k nearest rows in Euclidean distance, by brute force.

    Distances are compared up to float32 rounding of their squares. The
    distance matrix is formed in blocks with a running best, so the memory
    does not grow with the number of queries or rows.

    Args:
        queries (Tensor): ``(Q, D)`` float32.
        rows (Tensor): ``(N, D)`` float32.
        norms (Tensor): ``(N,)``, :func:`squared_norms` of ``rows``.
        k (int): Number of neighbors, at most ``N``.

    Returns:
        Tensor: ``(Q, k)`` int64 indices of rows, nearest first.
    """
    if is_exporting():
        return _search(queries, rows, norms, k, _EXPORTED_WIDTH)
    width = min(len(rows), max(1024, _BLOCK // max(1, len(queries))))
    height = max(1, _BLOCK // max(1, width))
    found = [
        _search(block, rows, norms, k, width)
        for block in queries.split(height)
    ]
    return torch.cat(found)


def _search(queries: Tensor, rows: Tensor, norms: Tensor, k: int,
            width: int) -> Tensor:
    best: Any = None
    index: Any = None
    for start in range(0, len(rows), width):
        # |q - m|^2 up to |q|^2, which does not change the order.
        block = torch.addmm(
            norms[start:start + width],
            queries,
            rows[start:start + width].T,
            alpha=-2)
        value, place = smallest(block, k)
        place = place + start
        if best is not None:
            value, place = merge_smallest(best, index, value, place, k)
        best, index = value, place
    return index


def smallest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k smallest entries of each row, or all, with their columns.

    Args:
        values (Tensor): ``(Q, N)``.
        k (int): Number of entries.

    Returns:
        tuple[Tensor, Tensor]: Values and columns ``(Q, min(k, N))``, in
        ascending order.
    """
    if k == 1:
        return values.min(1, keepdim=True)
    return values.topk(min(k, values.shape[1]), largest=False)


def merge_smallest(values: Tensor, places: Tensor, more_values: Tensor,
                   more_places: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Merge two lists of smallest values into the k smallest of both.

    Args:
        values (Tensor): ``(Q, m)``.
        places (Tensor): ``(Q, m)``, where they were found.
        more_values (Tensor): ``(Q, n)``.
        more_places (Tensor): ``(Q, n)``.
        k (int): Number of values to keep.

    Returns:
        tuple[Tensor, Tensor]: Values and places ``(Q, min(k, m + n))``.
    """
    values, order = smallest(torch.cat([values, more_values], 1), k)
    return values, torch.cat([places, more_places], 1).gather(1, order)


def distances_to(queries: Tensor, rows: Tensor, index: Tensor) -> Tensor:
    """Compute Euclidean distances to given rows.

    They are computed from the differences, so that nothing cancels.

    Args:
        queries (Tensor): ``(Q, D)``.
        rows (Tensor): ``(N, D)``.
        index (Tensor): ``(Q, k)`` indices of rows.

    Returns:
        Tensor: ``(Q, k)`` distances.
    """
    step = max(1, _BLOCK // (index.shape[1] * max(1, rows.shape[1])))
    blocks = [(queries, index)]
    if not is_exporting():
        blocks = list(zip(queries.split(step), index.split(step), strict=True))
    return torch.cat([
        torch.linalg.vector_norm(q[:, None] - rows[i], dim=2)
        for q, i in blocks
    ])
