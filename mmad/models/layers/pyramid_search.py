"""Nearest neighbors of pyramid features, without forming the pyramids.

With coarse stages repeated over the fine grid, the squared distance of two
pyramid features is the sum of the distances in each stage, and that of a
coarse stage is the same for all fine positions in a pair of its cells. So each
stage is compared on its own grid, and a sum over pairs of cells replaces most
of the work on pairs of positions.
"""
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from .nearest_neighbors import merge_smallest, smallest, squared_norms
from .pyramid import to_grid

# Entries of one block of the distance matrix: 4 MB.
_BLOCK = 1 << 20

Grid = tuple[int, int]


class Nesting(NamedTuple):
    """How the positions of the finest grid fall into cells of the coarse.

    Positions are in one cell if they share the parents in all coarse stages.

    Attributes:
        cell (Tensor): ``(P,)`` cell of each position.
        parents (tuple[Tensor, ...]): Per coarse stage ``(cells,)``, the
            position there.
        members (Tensor): ``(n, cells)`` positions in each cell, or -1.
    """

    cell: Tensor
    parents: tuple[Tensor, ...]
    members: Tensor


@lru_cache(maxsize=8)
def nest(grids: tuple[Grid, ...], device: torch.device) -> Nesting:
    """The cells of a pyramid whose stages have these grids."""
    height, width = grids[0]
    parents = [
        to_grid(torch.arange(float(h * w)).view(1, 1, h, w),
                grids[0]).flatten().long() for h, w in grids[1:]
    ]
    parents = torch.stack([torch.zeros(height * width).long(), *parents])
    unique, cell, counts = parents.unique(
        dim=1, return_inverse=True, return_counts=True)
    members = torch.full((int(counts.max()), len(counts)), -1)
    order = cell.argsort(stable=True)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(height * width) - starts.repeat_interleave(counts)
    members[rank, cell[order]] = order
    return Nesting(
        cell.to(device), tuple(row.to(device) for row in unique[1:]),
        members.to(device))


def nearest_in_images(query: Sequence[Tensor],
                      grids: Sequence[Grid],
                      gallery: Callable[[int], Sequence[Tensor]],
                      images: Sequence[int],
                      k: int = 1) -> Tensor:
    """Squared distances to the k nearest pyramid features of some images.

    Any position of any of the images may be the nearest (SPADE, arXiv
    2005.02357). One image is visited after the other with a
    running best, and the distances within are formed in blocks, so memory
    grows neither with their number nor with the product of their positions.

    Args:
        query (Sequence[Tensor]): Per stage ``(P_k, C_k)`` float32, row by row.
        grids (Sequence[Grid]): Height and width of each stage; the first is
            the finest.
        gallery (Callable): Stages of an image by its number, like ``query``.
        images (Sequence[int]): Their numbers.
        k (int): At most ``P_1`` times the number of images. Defaults to 1.

    Returns:
        Tensor: ``(P_1, k)``, in ascending order up to rounding.
    """
    nesting = nest(tuple(grids), query[0].device)
    members = nesting.members
    order = members.flatten()
    best = query[0].new_empty(len(query[0]), 0)
    place = torch.empty_like(best, dtype=torch.int64)
    for number, image in enumerate(images):
        levels = gallery(image)
        fine, norms = levels[0][order], squared_norms(levels[0])[order]
        norms.masked_fill_(order < 0, torch.inf)
        coarse_norms = [squared_norms(level) for level in levels[1:]]
        values = query[0].new_empty(len(query[0]), min(k, len(order)))
        columns = torch.empty_like(values, dtype=torch.int64)
        # Block by block of cells, with all their positions. Distances are
        # up to the norms of the query, which change no order.
        for cells in torch.arange(members.shape[1]).split(
                max(1, _BLOCK // (len(members) * len(order)))):
            cells = slice(int(cells[0]), int(cells[-1]) + 1)
            own = members[:, cells]
            block = _distances(query[0][own.flatten()], fine, norms)
            if nesting.parents:
                coarse = sum(
                    _distances(level[parent[cells]], other, norm)[:, parent]
                    for level, other, norm, parent in zip(
                        query[1:], levels[1:], coarse_norms, nesting.parents,
                        strict=True))
                block.view(*own.shape, *members.shape).add_(
                    coarse[None, :, None])
            valid = own.flatten() >= 0
            rows = own.flatten()[valid]
            values[rows], columns[rows] = (
                found[valid] for found in smallest(block, values.shape[1]))
        best, place = merge_smallest(
            best, place, values, number * len(query[0]) + order[columns], k)
    return _exactly(query, nesting, gallery, images, place)


def _distances(rows: Tensor, others: Tensor, norms: Tensor) -> Tensor:
    return torch.addmm(norms, rows, others.T, alpha=-2)


def _exactly(query: Sequence[Tensor], nesting: Nesting,
             gallery: Callable[[int], Sequence[Tensor]],
             images: Sequence[int], place: Tensor) -> Tensor:
    """Squared distances to the features found, without cancellation."""
    exact = torch.empty_like(place, dtype=query[0].dtype)
    number, position = place // len(query[0]), place % len(query[0])
    for i in number.unique().tolist():
        levels = gallery(images[i])
        here, slot = torch.nonzero(number == i, as_tuple=True)
        there = position[here, slot]
        cells = nesting.cell[here], nesting.cell[there]
        pairs = [(here, there)] + [(parent[cells[0]], parent[cells[1]])
                                   for parent in nesting.parents]
        exact[here, slot] = sum(
            (level[a] - other[b]).square().sum(1)
            for level, other, (a, b) in zip(query, levels, pairs))
    return exact.sort(1).values
