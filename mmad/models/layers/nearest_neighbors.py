from typing import Any

import torch
from torch import Tensor

# Entries of one block of the distance matrix: 16 MB stay near the caches.
_BLOCK = 1 << 22


def squared_norms(rows: Tensor) -> Tensor:
    """Squared Euclidean norms ``(N,)`` of ``(N, D)``, block by block."""
    step = max(1, _BLOCK // max(1, rows.shape[1]))
    return torch.cat([block.square().sum(1) for block in rows.split(step)])


def nearest_rows(queries: Tensor, rows: Tensor, norms: Tensor,
                 k: int) -> Tensor:
    """The k nearest rows in Euclidean distance, by brute force.

    Distances are compared up to float32 rounding of their squares.
    The distance matrix is visited in blocks with a running best, so the
    memory does not grow with either side.

    Args:
        queries (Tensor): ``(Q, D)``.
        rows (Tensor): ``(N, D)``.
        norms (Tensor): ``(N,)``, :func:`squared_norms` of ``rows``.
        k (int): Number of neighbors, at most ``N``.

    Returns:
        Tensor: ``(Q, k)`` int64 indices of rows, nearest first.
    """
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
    """The k smallest entries of each row, or all, and their columns."""
    if k == 1:
        return values.min(1, keepdim=True)
    return values.topk(min(k, values.shape[1]), largest=False)


def merge_smallest(values: Tensor, places: Tensor, more_values: Tensor,
                   more_places: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of two sets of values ``(Q, ...)``, with their places."""
    values, order = smallest(torch.cat([values, more_values], 1), k)
    return values, torch.cat([places, more_places], 1).gather(1, order)


def distances_to(queries: Tensor, rows: Tensor, index: Tensor) -> Tensor:
    """Euclidean distances to given rows, without cancellation.

    Args:
        queries (Tensor): ``(Q, D)``.
        rows (Tensor): ``(N, D)``.
        index (Tensor): ``(Q, k)`` indices of rows.

    Returns:
        Tensor: ``(Q, k)``.
    """
    step = max(1, _BLOCK // (index.shape[1] * max(1, rows.shape[1])))
    return torch.cat([
        torch.linalg.vector_norm(q[:, None] - rows[i], dim=2)
        for q, i in zip(queries.split(step), index.split(step), strict=True)
    ])
