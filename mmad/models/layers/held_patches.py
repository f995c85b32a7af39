import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mmad.errors import InputError

from .device_memory import has_room
from .patch_features import valid_patches
from .processes import all_gather, all_gather_rows, all_reduce_, world_size
from .row_file import RowFile

# Thinning out makes room for some more images, so that it is seldom needed.
_KEPT = 7 / 8
# No image keeps more than so many times the mean.
_MOST_OF_AN_IMAGE = 4
# Of a patch: number, rank and order, and what the greedy choice notes of it.
_BYTES_BESIDE = 100
# Rows that are moved at a time, and copied. Around each that is copied, pages
# of a file are read.
_MOVED, _COPIED = 4096, 16

# From rows `(n, D)` of an image, its number, the rank that rows must be above
# and how many are wanted: ranks `(n,)` float64, and how far those without a
# rank, which is then minus infinity, are from the others.
Rank = Callable[[Tensor, int, float, int], tuple[Tensor, float]]


class HeldPatches:
    """Patches of the images of this process, until some are chosen.

    If those of all images may exceed the budget, the ones with the greatest
    ranks are kept. A rank depends on its image alone, so that it does not
    matter in which order images come in and how they are dealt out to
    processes: the greatest of all are among the greatest of each process.

    They stay on the device of the features, or in the CPU's memory where a
    GPU has no room for them or some are left out, or in a file.

    A patch has the number image x patches per image + position, with
    positions row by row.

    Args:
        num_images (int): Number of images, over all processes.
        memory_budget (int): Bytes that the patches of a process take at any
            time, but in a file, with what the choice notes of them. If those
            of all images do not fit, as many as fit into seven eighths of it
            are kept, over all processes.
        rank (Callable): Ranks the patches of an image.
        choice_dim (int, optional): Float32 values of a patch that the choice
            works with, beside the patch. Defaults to None: as long as it.
        dtype (torch.dtype): Of the patches. Defaults to float32.
        folder (Path, optional): Of the file. Defaults to None: in memory.

    Attributes:
        per_image (int): Patches per image; 0 before the first.
        radius (float): Once they are taken, the greatest rank that was left
            out, over all processes; 0 if none was. For ranks that are gaps:
            each patch is within this of one that was kept.
    """

    def __init__(self,
                 num_images: int,
                 memory_budget: int,
                 rank: Rank,
                 choice_dim: int | None = None,
                 dtype: torch.dtype = torch.float32,
                 folder: Path | None = None) -> None:
        self.num_images = num_images
        self.memory_budget = memory_budget
        self.rank = rank
        self.choice_dim = choice_dim
        self.dtype = dtype
        self.folder = folder
        self.per_image = 0
        self.radius = 0.0
        self._capacity = 0
        # Ranks up to this one are left out.
        self._floor = -math.inf
        self._count = 0
        self._rows = torch.empty(0)
        self._file: RowFile | None = None
        self._numbers = torch.empty(0, dtype=torch.int64)
        self._ranks = torch.empty(0, dtype=torch.float64)

    def add(self,
            features: Tensor,
            ids: list[int],
            inside: Tensor | None = None) -> None:
        """Hold patches of new images.

        Args:
            features (Tensor): ``(B, D, h, w)``.
            ids (list[int]): Numbers of the images.
            inside (Tensor, optional): ``(B, 1, H, W)`` bool, the pixels that
                show the images; patches that show none of them are left out.
                Defaults to None: all do.

        Raises:
            InputError: Fewer patches than images can be held, they overflow
                the data type, or the file cannot be written.
        """
        patches = features.flatten(2).transpose(1, 2).to(self.dtype)
        if self.dtype != torch.float32 and not patches.isfinite().all():
            raise InputError(
                f'the features of an image are too large for {self.dtype}; '
                'use `held_dtype="float32"`, or check the weights.')
        if not self.per_image:
            self._reserve(patches.shape[1], patches.shape[2], features.device)
        patches = patches.to(self._rows.device)
        valid = None
        if inside is not None:
            valid = valid_patches(inside, features.shape[-2:]).flatten(1).cpu()
        for i, (rows, image) in enumerate(zip(patches, ids, strict=True)):
            positions = torch.arange(self.per_image)
            if valid is not None:
                positions = positions[valid[i]]
            self._add_image(rows[positions], image, positions)

    def settle(self) -> tuple[Tensor, Tensor]:
        """Leave out what all processes together cannot hold.

        All processes call this.

        Returns:
            tuple[Tensor, Tensor]: The patches ``(N, D)`` that are left and
            their numbers ``(N,)``. Those of one image are side by side. Call
            :meth:`release` after each part of the patches that is read.
        """
        if self.is_thinned:
            self._floor = _greatest(self._floor)
            ranks = self._ranks[:self._count]
            self._raise_floor(all_gather_rows(ranks[ranks > self._floor]))
            self.radius = _greatest(max(self.radius, self._floor))
        return self._rows[:self._count], self._numbers[:self._count]

    def release(self) -> None:
        """Take patches out of the memory that are in a file."""
        if self._file is not None:
            self._file.release()

    def clear(self) -> None:
        """Hold no patches any more, but know how many an image has."""
        self._rows = torch.empty(0)
        self._file = None
        self._numbers = torch.empty(0, dtype=torch.int64)
        self._count = 0

    def state_of(self, ids: list[int]) -> dict[str, Tensor]:
        """Return the patches of some images, as tensors of their own."""
        numbers = self._numbers[:self._count]
        own = torch.isin(numbers // max(1, self.per_image),
                         torch.tensor(ids, dtype=torch.int64))
        rows = self._rows[:self._count][own]
        self.release()
        return dict(
            rows=rows,
            numbers=numbers[own],
            ranks=self._ranks[:self._count][own],
            per_image=torch.tensor(self.per_image),
            floor=torch.tensor(self._floor, dtype=torch.float64),
            radius=torch.tensor(self.radius, dtype=torch.float64))

    def add_state(self, state: dict[str, Tensor]) -> None:
        """Hold the patches of a state, behind those before."""
        self._floor = max(self._floor, float(state['floor']))
        self.radius = max(self.radius, float(state['radius']))
        rows = state['rows']
        if not len(rows):
            return
        if not self.per_image:
            self._reserve(int(state['per_image']), rows.shape[1], rows.device)
        self._append(rows, state['numbers'], state['ranks'])

    @property
    def is_thinned(self) -> bool:
        """Whether the patches of all images may exceed the budget."""
        return self.num_images * self.per_image > self._capacity

    @property
    def _num_kept(self) -> int:
        return int(_KEPT * self._capacity)

    def _reserve(self, per_image: int, dim: int, device: torch.device) -> None:
        self.per_image = per_image
        row_size = dim * self.dtype.itemsize
        self._capacity = self.memory_budget // (
            (row_size if self.folder is None else 0) + 4 *
            (self.choice_dim or dim) + _BYTES_BESIDE)
        images = math.ceil(self.num_images / world_size())
        number = min(images * per_image, self._capacity)
        if self.is_thinned and self._num_kept < self.num_images:
            raise InputError(
                f'`memory_budget` {self.memory_budget} suffices for '
                f'{self._num_kept} patches of {dim} values, fewer than the '
                f'{self.num_images} images; raise it.')
        if self.folder is not None:
            self._file = self._make_file(self.folder, number, dim)
            self._rows = self._file.rows
        else:
            if self.is_thinned or not has_room(number * row_size, device):
                device = torch.device('cpu')
            # On the CPU, pages that are never written to take no memory.
            self._rows = torch.empty(
                number, dim, dtype=self.dtype, device=device)
        self._numbers = torch.empty(number, dtype=torch.int64)
        self._ranks = torch.empty(number, dtype=torch.float64)

    def _make_file(self, folder: Path, number: int, dim: int) -> RowFile:
        try:
            return RowFile(folder, number, dim, self.dtype)
        except OSError as error:
            size = number * dim * self.dtype.itemsize
            raise InputError(
                f'the patches, {size / 2**30:.3g} GiB, cannot be held in '
                f'"{folder}" ({error.strerror}); free some space or choose '
                'another `held_dir`.') from error

    def _add_image(self, rows: Tensor, image: int, positions: Tensor) -> None:
        ranks = torch.zeros(len(rows), dtype=torch.float64)
        if self.is_thinned:
            most = math.ceil(_MOST_OF_AN_IMAGE * self._num_kept /
                             self.num_images)
            ranks, left = self.rank(rows.float(), image, self._floor,
                                    min(most, self._num_kept))
            self.radius = max(self.radius, left)
        self._append(rows, image * self.per_image + positions, ranks)

    def _append(self, rows: Tensor, numbers: Tensor, ranks: Tensor) -> None:
        if self.is_thinned:
            held = self._ranks[:self._count]
            if len(held) + int((ranks > self._floor).sum()) > len(self._ranks):
                self._raise_floor(torch.cat([held, ranks]))
            kept = ranks > self._floor
            rows, numbers, ranks = rows[kept], numbers[kept], ranks[kept]
        new = slice(self._count, self._count + len(rows))
        self._rows[new] = rows
        self._numbers[new] = numbers
        self._ranks[new] = ranks
        self._count = new.stop
        self.release()

    def _raise_floor(self, ranks: Tensor) -> None:
        """Leave out patches so that not too many of these ranks are kept."""
        if len(ranks) > self._num_kept:
            place = len(ranks) - self._num_kept
            lowest = float(ranks.kthvalue(place).values)
            self._floor = max(self._floor, lowest)
        kept = torch.nonzero(self._ranks[:self._count] > self._floor)[:, 0]
        # No row moves behind one that is still to be moved.
        self._count = 0
        for block in kept.split(_MOVED):
            new = slice(self._count, self._count + len(block))
            for held in (self._rows, self._numbers, self._ranks):
                held[new] = held[block]
            self._count = new.stop
            self.release()


def _greatest(number: float) -> float:
    """The greatest of the numbers of all processes."""
    return float(all_gather(torch.tensor(number, dtype=torch.float64)).max())


def replicate_rows(rows: Tensor,
                   row_ids: Tensor,
                   chosen: Tensor,
                   release: Callable[[], None] = lambda: None) -> Tensor:
    """Give every process the rows with some ids.

    Args:
        rows (Tensor): ``(N, D)`` of this process, possibly none.
        row_ids (Tensor): ``(N,)`` int64 ids; over all processes each occurs
            once.
        chosen (Tensor): ``(K,)`` ids, the same in all processes.
        release (Callable): Is called after each part of the rows that is
            read. Defaults to a function that does nothing.

    Returns:
        Tensor: ``(K, D)`` float32 rows, in the order of ``chosen``.
    """
    found = torch.zeros(len(chosen), rows.shape[1], device=rows.device)
    if len(rows):
        ids, order = row_ids.sort()
        place = torch.searchsorted(ids, chosen).clamp(max=len(rows) - 1)
        here = torch.nonzero(ids[place] == chosen)[:, 0]
        # As they are in a file, one after the other.
        here = here[order[place[here]].argsort()]
        for block in here.split(_COPIED):
            found[block] = rows[order[place[block]]].float()
            release()
    return all_reduce_(found)
