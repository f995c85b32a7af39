"""Nearest neighbors of pyramid features, without forming the pyramids.

The pyramid feature of a position on the finest grid joins its features there
with those of the coarse cells that cover it. So the squared distance of two
pyramid features is the sum of the distances in each stage, and the terms of
the coarse stages are the same for all positions that the same cells cover.
Each stage is therefore compared on its own grid, and what the coarse stages
contribute is added to whole blocks of the distances in the finest one.
``docs/spade.md`` has a drawing.
"""
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .nearest_neighbors import merge_smallest, smallest, squared_norms
from .pyramid import to_grid

# Entries of one block of the distance matrix: 4 MB.
_BLOCK = 1 << 20

Grid = tuple[int, int]


class ParentCells(NamedTuple):
    """The cells that the coarse stages divide the finest grid into.

    Two positions of the finest grid are in one parent cell if the same
    position covers them in each coarse stage. Where all grids divide evenly,
    the parent cells are the positions of the first coarse stage.

    Attributes:
        cell (Tensor): ``(P,)`` number of the parent cell of each of the ``P``
            positions of the finest grid.
        parents (tuple[Tensor, ...]): For each coarse stage ``(cells,)``, the
            position there that covers the parent cell.
        children (Tensor): ``(n, cells)`` positions of the finest grid in each
            parent cell; those with fewer than ``n`` are filled up with -1.
    """

    cell: Tensor
    parents: tuple[Tensor, ...]
    children: Tensor


@lru_cache(maxsize=8)
def parent_cells(grids: tuple[Grid, ...], device: torch.device) -> ParentCells:
    """Find the parent cells of a pyramid.

    Args:
        grids (tuple[Grid, ...]): Height and width of each stage, the finest
            first.
        device (torch.device): Device of the result.

    Returns:
        ParentCells: Their parents and children.
    """
    height, width = grids[0]
    parents = [
        to_grid(torch.arange(float(h * w)).view(1, 1, h, w),
                grids[0]).flatten().long() for h, w in grids[1:]
    ]
    columns = torch.stack([torch.zeros(height * width).long(), *parents])
    unique, cell, counts = columns.unique(
        dim=1, return_inverse=True, return_counts=True)
    children = torch.full((int(counts.max()), len(counts)), -1)
    order = cell.argsort(stable=True)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(height * width) - starts.repeat_interleave(counts)
    children[rank, cell[order]] = order
    return ParentCells(
        cell.to(device), tuple(row.to(device) for row in unique[1:]),
        children.to(device))


def nearest_in_images(query: Sequence[Tensor],
                      grids: Sequence[Grid],
                      gallery: Callable[[int], Sequence[Tensor]],
                      images: Sequence[int],
                      k: int = 1) -> Tensor:
    """Compute the distances to the k nearest pyramid features of some images.

    The nearest may be at any position of any of the images (SPADE, arXiv
    2005.02357). The images are visited one after the other with a running
    best, and the distances are formed in blocks, so the memory grows neither
    with the number of images nor with the number of pairs of positions.

    Args:
        query (Sequence[Tensor]): For each stage ``(P_k, C_k)`` float32, row by
            row.
        grids (Sequence[Grid]): Height and width of each stage, the finest
            first.
        gallery (Callable): Returns the stages of an image by its number, in
            the form of ``query``.
        images (Sequence[int]): Numbers of the images to look in.
        k (int): Number of neighbors, at most ``P_1`` times the number of
            images. Defaults to 1.

    Returns:
        Tensor: ``(P_1, k)`` squared distances, in ascending order up to
        rounding.
    """
    cells = parent_cells(tuple(grids), query[0].device)
    children = cells.children
    order = children.flatten()
    best = query[0].new_empty(len(query[0]), 0)
    place = torch.empty_like(best, dtype=torch.int64)
    for number, image in enumerate(images):
        levels = gallery(image)
        fine, norms = levels[0][order], squared_norms(levels[0])[order]
        norms.masked_fill_(order < 0, torch.inf)
        coarse_norms = [squared_norms(level) for level in levels[1:]]
        values = query[0].new_empty(len(query[0]), min(k, len(order)))
        columns = torch.empty_like(values, dtype=torch.int64)
        # Some parent cells of the query at a time, with all their children.
        # The norms of the query are left out, since they change no order.
        for part in torch.arange(children.shape[1]).split(
                max(1, _BLOCK // (len(children) * len(order)))):
            part = slice(int(part[0]), int(part[-1]) + 1)
            own = children[:, part]
            block = _distances(query[0][own.flatten()], fine, norms)
            if cells.parents:
                coarse: Any = sum(
                    _distances(level[parent[part]], other, norm)[:, parent]
                    for level, other, norm, parent in zip(
                        query[1:],
                        levels[1:],
                        coarse_norms,
                        cells.parents,
                        strict=True))
                block.view(*own.shape, *children.shape).add_(coarse[None, :,
                                                                    None])
            valid = own.flatten() >= 0
            rows = own.flatten()[valid]
            values[rows], columns[rows] = (
                found[valid] for found in smallest(block, values.shape[1]))
        best, place = merge_smallest(best, place, values,
                                     number * len(query[0]) + order[columns],
                                     k)
    return _exact_distances(query, cells, gallery, images, place)


def _distances(rows: Tensor, others: Tensor, norms: Tensor) -> Tensor:
    return torch.addmm(norms, rows, others.T, alpha=-2)


def _exact_distances(query: Sequence[Tensor], cells: ParentCells,
                     gallery: Callable[[int], Sequence[Tensor]],
                     images: Sequence[int], place: Tensor) -> Tensor:
    """Squared distances to the features found, without cancellation."""
    exact = torch.empty_like(place, dtype=query[0].dtype)
    number, position = place // len(query[0]), place % len(query[0])
    for i in number.unique().tolist():
        levels = gallery(images[i])
        here, slot = torch.nonzero(number == i, as_tuple=True)
        there = position[here, slot]
        cell_here, cell_there = cells.cell[here], cells.cell[there]
        pairs = [(here, there)] + [(parent[cell_here], parent[cell_there])
                                   for parent in cells.parents]
        exact[here, slot] = sum(
            (level[a] - other[b]).square().sum(1)
            for level, other, (a, b) in zip(query, levels, pairs))
    return exact.sort(1).values
