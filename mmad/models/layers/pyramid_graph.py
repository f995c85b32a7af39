"""The search of :mod:`~mmad.models.layers.pyramid_search` for graphs.

It takes a batch of images, each with nearest images of its own. The distances
of all positions of two images are formed at once, so it needs more memory.
"""
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .nearest_neighbors import merge_smallest, smallest
from .pyramid import to_grid


def nearest_in_gallery(query: Sequence[Tensor], gallery: Sequence[Tensor],
                       images: Tensor, k: int) -> Tensor:
    """Compute the distances to the k nearest pyramid features of some images.

    Args:
        query (Sequence[Tensor]): For each stage ``(B, C_k, h_k, w_k)``, the
            finest first.
        gallery (Sequence[Tensor]): For each stage ``(N, P_k, C_k)``.
        images (Tensor): ``(B, K)``, the images of the gallery to look in.
        k (int): Number of neighbors, at most ``K P_1``.

    Returns:
        Tensor: ``(B, h_1, w_1, k)`` squared distances, in ascending order up
        to rounding.
    """
    grid = query[0].shape[-2:]
    parents = [_parents(level, grid) for level in query]
    rows = [level.flatten(2).mT for level in query]
    number = grid[0] * grid[1]
    best: Any = None
    place: Any = None
    for i in range(images.shape[1]):
        values: Any = sum(
            _distances(own, level[images[:, i]].float(), parent)
            for own, level, parent in zip(rows, gallery, parents))
        value, column = smallest(values.flatten(0, 1), k)
        column = column + i * number
        if best is not None:
            value, column = merge_smallest(best, place, value, column, k)
        best, place = value, column
    place = place.unflatten(0, (-1, number))
    chosen, there = place // number, place % number
    images = images[:, None].expand(-1, number, -1).gather(2, chosen)
    # Without cancellation.
    exact: Any = sum((own[:, parent, None] -
                      level[images, parent[there]].float()).square().sum(3)
                     for own, level, parent in zip(rows, gallery, parents))
    return exact.sort(2).values.unflatten(1, grid)


def _parents(level: Tensor, grid: Sequence[int]) -> Tensor:
    """The position of a stage that covers each position of the finest."""
    height, width = level.shape[-2:]
    positions = torch.arange(float(height * width), device=level.device)
    return to_grid(positions.view(1, 1, height, width),
                   (grid[0], grid[1])).flatten().long()


def _distances(rows: Tensor, others: Tensor, parent: Tensor) -> Tensor:
    """Squared distances on the finest grid, up to the norms of the rows."""
    norms = others.square().sum(2)[:, None]
    values = torch.baddbmm(norms, rows, others.mT, alpha=-2)
    if values.shape[1] == len(parent):
        return values
    return values[:, parent][:, :, parent]
