from collections.abc import Sequence

import torch
from torch import Tensor

from mmad.errors import InputError

from .memory_bank import MemoryBank
from .nearest_neighbors import distances_to, nearest_rows, squared_norms


class FilledBank(MemoryBank):
    """Memory bank with other rows in the place of those of a left-out image.

    A subclass finds the rows that are filled in.

    Args:
        backend (str): As in :class:`MemoryBank`. Defaults to ``'torch'``.
        index (str): As in :class:`MemoryBank`. Defaults to ``'Flat'``.
        nprobe (int): As in :class:`MemoryBank`. Defaults to 32.

    Attributes:
        fill_rows (Tensor): ``(F, D)`` float32, rows that take the place of
            those of an image where it is left out. Search results name them
            behind the rows.
        fill_images (Tensor): ``(F,)`` int64, the image that each is for.
    """

    fill_rows: Tensor
    fill_images: Tensor

    def __init__(self,
                 backend: str = 'torch',
                 index: str = 'Flat',
                 nprobe: int = 32) -> None:
        super().__init__(backend, index, nprobe)
        self.register_buffer('fill_rows', torch.empty(0, 0))
        self.register_buffer('fill_images', torch.empty(0, dtype=torch.int64))

    def end_calibration(self) -> None:
        self.fill_rows = self.fill_rows.new_empty(0, 0)
        self.fill_images = self.fill_images.new_empty(0)

    def rows_at(self, index: Tensor) -> Tensor:
        """Return the rows ``(..., D)`` that a search has found."""
        if self.left_out is None or not len(self.fill_rows):
            return self.rows[index]
        rows = self.rows[index.clamp(max=len(self) - 1)]
        filled = index >= len(self)
        rows[filled] = self.fill_rows[index[filled] - len(self)]
        return rows

    def distances(self, queries: Tensor, index: Tensor) -> Tensor:
        if self.left_out is None or not len(self.fill_rows):
            return super().distances(queries, index)
        distances = super().distances(queries, index.clamp(max=len(self) - 1))
        query, place = torch.nonzero(index >= len(self), as_tuple=True)
        filled = index[query, place, None] - len(self)
        distances[query, place] = distances_to(queries[query], self.fill_rows,
                                               filled)[:, 0]
        return distances

    def _search_others(self, queries: Tensor, k: int,
                       left_out: Sequence[int]) -> Tensor:
        index = super()._search_others(queries, k, left_out)
        if not len(self.fill_rows):
            return index
        found = []
        for image, group, near in zip(
                left_out,
                queries.unflatten(0, (len(left_out), -1)),
                index.unflatten(0, (len(left_out), -1)),
                strict=True):
            places = torch.nonzero(self.fill_images == image)[:, 0]
            if len(places):
                rows = self.fill_rows[places]
                filled = nearest_rows(group, rows, squared_norms(rows),
                                      min(k, len(rows)))
                both = torch.cat([near, places[filled] + len(self)], 1)
                order = self.distances(group, both).sort(stable=True).indices
                near = both.gather(1, order[:, :k])
            found.append(near)
        return torch.cat(found)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        # Older checkpoints have none.
        for name in ('fill_rows', 'fill_images'):
            state_dict.setdefault(prefix + name, getattr(self, name)[:0])
        super()._load_from_state_dict(state_dict, prefix, *args)
        if len(self.fill_rows) != len(self.fill_images):
            raise InputError(
                f'the tensor "{prefix}fill_images" of the checkpoint does not '
                f'say which image each of the {len(self.fill_rows)} rows of '
                f'"{prefix}fill_rows" is for; it is damaged: fit again.')
