import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmad.errors import InputError
from mmad.utils.arguments import check_choice, check_folder, check_number

from .coreset import Tell, k_center_greedy
from .coreset_filling import fill_coreset
from .covering_gaps import covering_bound
from .device_memory import has_room
from .filled_bank import FilledBank
from .held_patches import HeldPatches, replicate_rows
from .processes import all_gather_rows, rank
from .selection_space import SelectionSpace

# What is told of a selection begins so.
_CHOICE, _FILLING = 'choice.', 'filling.'


class CoresetBank(FilledBank):
    """Memory bank of a coreset of the patches of all images.

    PatchCore (arXiv 2106.08265), section 3.2 and Algorithm 1. While images
    come in, each process holds the patches of its own; then all choose the
    coreset together, and each gets a copy.

    Where the patches of all images exceed ``memory_budget``, those are held
    that the others of their image are nearest to: each image keeps what the
    greedy choice within it takes first, down to a radius that is the same for
    all images and as small as the budget allows, but none more than four
    times the mean. :attr:`covering` then bounds what the coreset has lost.

    An image that is left out is compared with the rows of the others. That is
    exact where all patches are kept. In a coreset, its own rows also cover
    patches of other images; ``fill_coreset`` chooses patches of these for
    their place, at most twice as many as there are rows. They are kept until
    :meth:`end_calibration`. Scores are then close to a fit without it. Rows
    that were drawn at random stand for their own image alone, so that nothing
    has to take their place.

    Added images extend the coreset: the greedy choice goes on from the rows
    that there are, and at random so many of the added patches are drawn. Then
    only patches of the added images can be filled in, and none where images
    are taken out of the fit.

    Args:
        coreset_ratio (float): Share of the held patches that is chosen, in
            (0, 1]; 1 keeps all, without a selection. Defaults to 0.1.
        projection_dim (int | None): Dimensions of the random projection that
            the greedy selection (only) works in; None selects in the full
            space. Defaults to 128.
        seed (int): Of the projection and the random selection. Defaults to 0.
        first_patch (int): Number of the patch that the greedy selection
            begins with. Where it is not held, the next one that is. Defaults
            to 0.
        memory_budget (int): Bytes that the patches take in each process until
            the coreset is chosen, with what the choice needs. A larger
            training set is thinned out to seven eighths of it, over all
            processes. Defaults to 4 GiB.
        held_dtype (str): Of the held patches, ``'float32'`` or ``'float16'``,
            which rounds the rows. Defaults to ``'float32'``.
        held_dir (str, optional): Folder for a file of the held patches of
            each process, which the system removes with the process. In memory
            remains what the choice works with, and only that counts for the
            budget. Defaults to None: all in memory.
        num_neighbors (int): Least number of rows. Defaults to 1.
        selection (str): ``'greedy'`` (k-center) or ``'random'``, which draws
            from all patches alike, those to be held as well. Defaults to
            ``'greedy'``.
        backend (str): As in :class:`MemoryBank`. Defaults to ``'torch'``.
        index (str): As in :class:`MemoryBank`. Defaults to ``'Flat'``.
        nprobe (int): As in :class:`MemoryBank`. Defaults to 32.

    Raises:
        InputError: An argument is out of its range, or faiss is missing.

    Attributes:
        rows (Tensor): ``(N, D)`` float32.
        sources (Tensor): ``(N, 2)`` int64, image and position of each row.
        counts (Tensor): ``(2,)`` int64, numbers of images and of patches that
            were held.
        covering (tuple[float, float] | None): After a fit with patches that
            were thinned out: every patch, held or not, is so near to a row,
            in the space of the selection; and that is at most so many times
            the least possible, see :func:`covering_bound`. None otherwise.
    """

    sources: Tensor
    counts: Tensor
    covering: tuple[float, float] | None = None

    def __init__(self,
                 coreset_ratio: float = 0.1,
                 projection_dim: int | None = 128,
                 seed: int = 0,
                 first_patch: int = 0,
                 memory_budget: int = 4 << 30,
                 held_dtype: str = 'float32',
                 held_dir: str | None = None,
                 num_neighbors: int = 1,
                 selection: str = 'greedy',
                 backend: str = 'torch',
                 index: str = 'Flat',
                 nprobe: int = 32) -> None:
        super().__init__(backend, index, nprobe)
        check_number('coreset_ratio', coreset_ratio, above=0, high=1)
        check_number(
            'projection_dim',
            projection_dim,
            low=1,
            integer=True,
            optional=True)
        check_number('seed', seed, low=0, integer=True)
        check_number('first_patch', first_patch, low=0, integer=True)
        check_number('memory_budget', memory_budget, low=1, integer=True)
        check_choice('held_dtype', held_dtype, ('float32', 'float16'))
        check_folder('held_dir', held_dir, optional=True)
        check_number('num_neighbors', num_neighbors, low=1, integer=True)
        check_choice('selection', selection, ('greedy', 'random'))
        self.coreset_ratio = coreset_ratio
        self.projection_dim = projection_dim
        self.seed = seed
        self.first_patch = first_patch
        self.memory_budget = memory_budget
        self.held_dtype: torch.dtype = getattr(torch, held_dtype)
        self.held_dir = None if held_dir is None else Path(
            held_dir).expanduser()
        self.num_neighbors = num_neighbors
        self.selection = selection
        self.register_fitted('sources', ndim=2, dtype=torch.int64)
        self.register_fitted('counts', dtype=torch.int64)
        self._hold_none()
        # Of a selection that is under way, its state.
        self._tell_selection: Tell = dict

    @property
    def num_fitted(self) -> int:
        return int(self.counts[0])

    @property
    def num_held(self) -> int:
        """Number of patches that the coreset was chosen from."""
        return int(self.counts[1]) if len(self.counts) else 0

    @property
    def thinned_out(self) -> bool:
        """Whether the last fit has held a part of the patches only."""
        return self._held.radius > 0

    @property
    def num_patches(self) -> int:
        """Number of patches of the images, held or not."""
        return self.num_images * self._held.per_image

    def images_of_rows(self) -> Tensor:
        return self.sources.view(-1, 2)[:, 0]

    def reset(self) -> None:
        super().reset()
        self.reopen()

    def reopen(self) -> None:
        self._hold_none()
        self._tell_selection = dict
        self.covering = None
        self.end_calibration()

    def _hold_none(self) -> None:
        self._space = SelectionSpace(self.projection_dim, self.seed)
        ranks = dict(greedy=self._space.rank, random=self._space.draw)
        before = int(self.counts[0]) if len(self.counts) else 0
        self._held = HeldPatches(self.num_images - before, self.memory_budget,
                                 ranks[self.selection], self.projection_dim,
                                 self.held_dtype, self.held_dir)

    def forget(self, ids: list[int], features: Any = None) -> None:
        image, position = self.sources.T
        gone = self.sources.new_tensor(sorted(ids))
        kept = ~torch.isin(image, gone)
        # Those of one image are taken to be as many as those of another.
        images, held = self.counts.tolist()
        left = images - len(gone)
        self.counts = self.counts.new_tensor([left, held * left // images])
        self.sources = torch.stack(
            [image - torch.searchsorted(gone, image.contiguous()), position],
            1)[kept]
        self.rows = self.rows[kept]
        self._hold_none()

    def update(self,
               features: Tensor,
               ids: list[int],
               inside: Tensor | None = None) -> None:
        """Hold patches of new images, see :meth:`HeldPatches.add`."""
        self._held.add(features, ids, inside)

    def progress_state(self, ids: list[int]) -> dict[str, Tensor]:
        selection = {} if ids else self._tell_selection()
        return dict(self._held.state_of(ids), **selection)

    def load_progress_state(self, state: dict[str, Tensor]) -> None:
        self._held.add_state(state)
        self._tell_selection = partial(
            dict, {
                key: value
                for key, value in state.items()
                if key.startswith((_CHOICE, _FILLING))
            })

    def describe_progress(self) -> str:
        number = len(self._tell_selection().get(_CHOICE + 'chosen', ()))
        return f'{number} patches of the coreset' if number else ''

    def finalize(self) -> None:
        """Choose the coreset together and give every process its rows.

        Raises:
            InputError: It would have fewer rows than ``num_neighbors``, or
                ``first_patch`` is no patch.
        """
        held, numbers = self._held.settle()
        everyones = all_gather_rows(numbers).sort().values
        # There are none before the first fit.
        rows, sources = self.rows, self.sources
        num_held = self.num_held + len(everyones)
        size = int(self.coreset_ratio * num_held)
        size = max(len(rows), min(size, len(rows) + len(everyones)))
        if size < self.num_neighbors:
            raise InputError(
                f'`coreset_ratio` {self.coreset_ratio} of {num_held} '
                f'patches selects {size}, fewer than the {self.num_neighbors} '
                'neighbors that a score takes; raise the ratio or add '
                'images.')
        self.end_calibration()
        if len(everyones):
            chosen, picks, images = self._choose(held, numbers, everyones,
                                                 size - len(rows))
            more = self._replicate(held, numbers, chosen)
            per_image = self._held.per_image
            origin = torch.stack([chosen // per_image, chosen % per_image],
                                 1).to(sources)
            rows = torch.cat([rows, more]) if len(rows) else more
            sources = torch.cat([sources, origin]) if len(sources) else origin
            self.fill_rows = self._replicate(held, numbers, picks)
            self.fill_images = images.to(sources)
        self._held.clear()
        self.store(rows)
        self.sources = sources
        self.counts = self.counts.new_tensor([self.num_images, num_held])

    def _choose(self, held: Tensor, numbers: Tensor, everyones: Tensor,
                size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Choose so many patches of all processes, beside the rows.

        Returns:
            tuple[Tensor, Tensor, Tensor]: Their numbers, and the numbers and
            images of those to fill in.
        """
        none = everyones[:0]
        notes_covering = (
            self.thinned_out and self.selection == 'greedy' and not len(self))
        if size == len(everyones):
            if notes_covering:
                self.covering = self._held.radius, math.inf
            return everyones, none, none
        if self.selection == 'random':
            # Added images have another draw than those before.
            generator = torch.Generator().manual_seed(self.seed + len(self))
            drawn = torch.randperm(len(everyones), generator=generator)[:size]
            return everyones[drawn.sort().values], none, none
        projected = self._space.project(held, numbers // self._held.per_image,
                                        self.rows.device, self._held.release)
        if (numbers.diff() < 0).any():
            numbers, order = numbers.sort()
            projected = projected[order]
        start: dict = dict(first=self._first_number(everyones))
        centers, owners = projected[:0], self.images_of_rows().cpu()
        if len(self):
            # As patches of one image.
            centers = self._space.project(self.rows, torch.zeros_like(owners),
                                          self.rows.device)
            start = dict(centers=centers)
        device, chosen, told = self.rows.device, none, self._tell_selection()
        if has_room(projected.nbytes, device):
            projected = projected.to(device)
        if size:
            chosen = k_center_greedy(
                projected,
                # The one after the last tells how far the rest is.
                size + notes_covering,
                row_ids=numbers,
                progress=rank() == 0,
                device=device,
                state=_part(told, _CHOICE),
                note=partial(self._note, _CHOICE, {}),
                **start)
        self._tell_selection = dict
        if not (notes_covering or self.prepares_leaving_out):
            return chosen, none, none
        kept = {_CHOICE + 'chosen': chosen}
        more = self._replicate(projected, numbers, chosen)
        if notes_covering:
            self.covering = covering_bound(more, self._held.radius)
            chosen, more = chosen[:-1], more[:-1]
        if not self.prepares_leaving_out:
            return chosen, none, none
        filling = fill_coreset(
            projected,
            numbers,
            numbers // self._held.per_image,
            torch.cat([centers.to(device), more]),
            torch.cat([owners, chosen // self._held.per_image]).to(device),
            progress=rank() == 0,
            state=_part(told, _FILLING),
            note=partial(self._note, _FILLING, kept))
        self._tell_selection = dict
        return chosen, *filling

    def _note(self, name: str, kept: dict[str, Tensor], tell: Tell) -> None:
        self._tell_selection = lambda: dict(
            kept, **{
                name + key: value
                for key, value in tell().items()
            })
        if self.on_progress is not None:
            self.on_progress()

    def _first_number(self, everyones: Tensor) -> int:
        if self.first_patch >= self.num_patches:
            raise InputError(f'`first_patch` {self.first_patch} is not one of '
                             f'the {self.num_patches} patches.')
        later = everyones[everyones >= self.first_patch]
        return int(later[0] if len(later) else everyones[0])

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if len(self) and (self.sources.shape != (len(self), 2)
                          or self.counts.shape != (2, )):
            raise InputError(
                f'the tensors "{prefix}sources" and "{prefix}counts" of the '
                f'checkpoint do not say where the {len(self)} rows are from; '
                'it is damaged: fit again.')

    def _replicate(self, held: Tensor, numbers: Tensor,
                   chosen: Tensor) -> Tensor:
        return replicate_rows(held, numbers, chosen,
                              self._held.release).to(self.rows.device)


def _part(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(name): value
        for key, value in state.items() if key.startswith(name)
    }
