import math
from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor

from mmad.errors import InputError
from mmad.models.layers.tiles import tile_shares, tile_spans
from mmad.utils.arguments import check_choice, check_number

from .base import FrozenBackbone
from .trace_output import trace_output


class TiledBackbone(FrozenBackbone):
    """A backbone that sees large images tile by tile.

    Tiles overlap and cover the image; the maps of a stage are put together to
    the one of the whole image. So all that follows is as without tiles, but
    the activations inside the network take the memory of a few tiles. Where
    half of the overlap is at least the radius of the receptive field, and the
    network only looks at a neighborhood, as convolutions do, the maps are
    those of the whole image up to rounding.

    :func:`build_backbone` makes one of a config with ``tiles``, a dict of the
    arguments below but the first.

    Args:
        backbone (FrozenBackbone): The network, see :func:`build_backbone`.
        size (int): Side of the tiles in pixels, a multiple of the largest
            stride of the stages. Images that are smaller are one tile.
        overlap (int): Least number of pixels that neighbors have in common, a
            multiple of that stride. Tiles are spread evenly, so it may be
            more. Defaults to 128.
        blending (str): What is taken where tiles overlap. ``'center'``: the
            tile in which a position is farther from the edge. ``'linear'``:
            the mean, with weights that fall to zero towards the edge.
            Defaults to ``'center'``.
        batch_size (int): Tiles of an image that go through the network at a
            time. Defaults to 4.

    Raises:
        InputError: An argument is out of its range, or the maps of a stage
            are not the size of a tile divided by a whole number.
    """

    def __init__(self,
                 backbone: FrozenBackbone,
                 size: int,
                 overlap: int = 128,
                 blending: str = 'center',
                 batch_size: int = 4) -> None:
        super().__init__(backbone.stages)
        check_number('tiles.size', size, low=1, integer=True)
        check_number('tiles.overlap', overlap, low=0, integer=True)
        check_choice('tiles.blending', blending, ('center', 'linear'))
        check_number('tiles.batch_size', batch_size, low=1, integer=True)
        self.network = backbone
        self.size = size
        self.overlap = overlap
        self.blending = blending
        self.batch_size = batch_size
        self.name = (f'{backbone.name} in tiles of {size} pixels '
                     f'({blending} of an overlap of {overlap})')
        self.strides = self._find_strides()
        self._unit = math.lcm(*self.strides)
        if overlap % self._unit or overlap >= size:
            raise InputError(
                f'`tiles.overlap` must be below `tiles.size`, {size}, and a '
                f'multiple of {self._unit}, the stride of the stages, got '
                f'{overlap}.')
        self.freeze()

    @property
    def channels(self) -> tuple[int, ...]:
        return self.network.channels

    def unfreeze(self) -> None:
        """Refuse to be trained.

        Raises:
            InputError: Always.
        """
        raise InputError(
            'a backbone with `tiles` cannot be trained; leave out `tiles`, or '
            'what trains it (`fas` and `fca` of FYD).')

    def _find_strides(self) -> tuple[int, ...]:
        maps = trace_output(self.network, (self.size, self.size))
        strides = []
        for stage, level in zip(self.stages, maps, strict=True):
            side = level.shape[-1]
            if self.size % side:
                raise InputError(
                    f'`tiles.size` {self.size} is no multiple of the '
                    f'{side} columns of the map of "{stage}" of '
                    f'{self.network.name}; use a multiple of its stride, such '
                    'as 512, or a network that pads (not AlexNet, Inception '
                    'or SqueezeNet).')
            strides.append(self.size // side)
        return tuple(strides)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Extract the stages.

        Args:
            inputs (Tensor): Normalized images ``(B, 3, H, W)``.

        Returns:
            tuple[Tensor, ...]: One map ``(B, C_k, H_k, W_k)`` per stage.
        """
        if max(inputs.shape[-2:]) <= self.size:
            return self.network(inputs)
        spans = [
            tile_spans(length, self.size, self.overlap, self._unit)
            for length in inputs.shape[-2:]
        ]
        stitches: list[_Stitch] = []
        # Image by image, so that others of its batch make no difference.
        for number, image in enumerate(inputs):
            for tiles in self._batches(spans):
                found = self.network(
                    torch.stack([
                        image[:, spans[0][row], spans[1][column]]
                        for row, column in tiles
                    ]))
                if not stitches:
                    fade = self.overlap if self.blending == 'linear' else None
                    stitches = [
                        _Stitch(len(inputs), level, spans, stride, fade)
                        for level, stride in zip(found, self.strides)
                    ]
                for stitch, level in zip(stitches, found):
                    stitch.add(number, tiles, level)
        return tuple(stitch.maps for stitch in stitches)

    def _batches(self,
                 spans: list[list[slice]]) -> Iterator[list[tuple[int, int]]]:
        """Yield rows and columns of tiles of one size, the last tile first."""
        groups = defaultdict(list)
        rows, columns = spans
        for row in reversed(range(len(rows))):
            for column in reversed(range(len(columns))):
                size = tuple(span.stop - span.start
                             for span in (rows[row], columns[column]))
                groups[size].append((row, column))
        for tiles in groups.values():
            for start in range(0, len(tiles), self.batch_size):
                yield tiles[start:start + self.batch_size]


class _Stitch:
    """The maps ``(B, C, H_k, W_k)`` of a stage, put together from tiles."""

    def __init__(self, number: int, last: Tensor, spans: list[list[slice]],
                 stride: int, fade: int | None) -> None:
        # The last tile ends where the image does, and tells its size.
        grid = [
            one[-1].start // stride + cells
            for one, cells in zip(spans, last.shape[-2:])
        ]
        self.maps = last.new_zeros(number, last.shape[1], *grid)
        self._shares = [
            tile_shares(one, stride, cells, fade)
            for one, cells in zip(spans, grid)
        ]
        self._firsts = [[span.start // stride for span in one]
                        for one in spans]

    def add(self, number: int, tiles: list[tuple[int, int]],
            level: Tensor) -> None:
        """Add the maps ``(T, C, h, w)`` of tiles of an image."""
        for part, (row, column) in zip(level, tiles):
            rows, tall = self._shares[0][row]
            columns, wide = self._shares[1][column]
            top, left = self._firsts[0][row], self._firsts[1][column]
            own = part[:, rows.start - top:rows.stop - top,
                       columns.start - left:columns.stop - left]
            weights = torch.outer(tall, wide).to(own)
            self.maps[number, :, rows, columns] += weights * own
