"""Places of overlapping tiles along an axis of an image."""
from collections.abc import Sequence

import torch
from torch import Tensor


def tile_spans(length: int, size: int, overlap: int, unit: int) -> list[slice]:
    """Spread tiles evenly over an axis.

    Args:
        length (int): Of the axis in pixels.
        size (int): Of a tile in pixels, a multiple of ``unit``.
        overlap (int): Least number of pixels that neighbors have in common,
            less than ``size`` and a multiple of ``unit``.
        unit (int): Tiles begin at multiples of this number.

    Returns:
        list[slice]: The pixels of each tile, in order and as few tiles as
        possible. The last ends where the axis does and may be less than one
        ``unit`` smaller than the others.
    """
    rest = length - size
    if rest <= 0:
        return [slice(0, length)]
    steps = -(-rest // (size - overlap))
    # In whole units, rounded up, so that no two are too far apart.
    starts = [-(-rest * i // (steps * unit)) * unit for i in range(steps + 1)]
    return [slice(start, min(start + size, length)) for start in starts]


def tile_shares(spans: Sequence[slice], stride: int, cells: int,
                fade: int | None) -> list[tuple[slice, Tensor]]:
    """Divide the cells of an axis of a map among tiles.

    Args:
        spans (Sequence[slice]): Result of :func:`tile_spans`.
        stride (int): Pixels of a cell; divides the first pixel of each tile.
        cells (int): Cells of the axis.
        fade (int, optional): Pixels over which the weight of a tile falls to
            zero towards its edge. None gives each cell to the tile in which
            it is farther from the edge.

    Returns:
        list[tuple[slice, Tensor]]: For each tile the cells that it has a
        share in, and its weights there, float64. They add up to 1 at each
        cell.
    """
    firsts = [span.start // stride for span in spans]
    ends = [span.stop // stride for span in spans[:-1]] + [cells]
    if fade is None:
        middles = [(first + end) // 2
                   for first, end in zip(firsts[1:], ends[:-1])]
        parts = map(slice, [0, *middles], [*middles, cells])
        return [(part, torch.ones(part.stop - part.start).double())
                for part in parts]
    weights = torch.zeros(len(spans), cells, dtype=torch.float64)
    steps = max(1, fade // stride)
    for own, first, end in zip(weights, firsts, ends):
        ramp = ((torch.arange(end - first) + 0.5) / steps).clamp(max=1)
        # Nothing lies beyond the ends of the axis.
        own[first:end] = 1
        if first > 0:
            own[first:end] = ramp
        if end < cells:
            own[first:end] = own[first:end].minimum(ramp.flip(0))
    weights /= weights.sum(0)
    return [(slice(first, end), own[first:end])
            for own, first, end in zip(weights, firsts, ends)]
