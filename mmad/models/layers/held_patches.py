import math

import torch
from torch import Tensor

from .patch_features import valid_patches
from .processes import all_reduce_, world_size


class HeldPatches:
    """Patches of the images of this process, until some are chosen.

    A patch has the number image x patches per image + position, with
    positions row by row.

    Args:
        num_images (int): Number of images, over all processes.
        max_patches (int): Most patches that all processes together hold. Of
            more, some are held, drawn at random and evenly over the images,
            however these are dealt out.
        seed (int): Of this draw.

    Attributes:
        per_image (int): Patches per image; 0 before the first.
    """

    def __init__(self, num_images: int, max_patches: int, seed: int) -> None:
        self.num_images = num_images
        self.max_patches = max_patches
        self.seed = seed
        self.per_image = 0
        self._rows = torch.empty(0)
        self._numbers = torch.empty(0, dtype=torch.int64)
        self._count = 0

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
        """
        patches = features.flatten(2).transpose(1, 2).cpu()
        if not self.per_image:
            self._reserve(*patches.shape[1:])
        valid = None
        if inside is not None:
            valid = valid_patches(inside, features.shape[-2:]).flatten(1).cpu()
        for i, (patch, image) in enumerate(zip(patches, ids, strict=True)):
            kept = self._kept_positions(image)
            if valid is not None:
                kept = kept[valid[i, kept]]
            rows = slice(self._count, self._count + len(kept))
            self._rows[rows] = patch[kept]
            self._numbers[rows] = image * self.per_image + kept
            self._count = rows.stop

    def sort(self) -> tuple[Tensor, Tensor]:
        """Sort and return the patches ``(N, D)`` and their numbers ``(N,)``.
        """
        rows, numbers = self._rows[:self._count], self._numbers[:self._count]
        if (numbers.diff() < 0).any():
            numbers, order = numbers.sort()
            rows = rows[order]
            self._rows, self._numbers = rows, numbers
        return rows, numbers

    def clear(self) -> None:
        """Hold no patches any more, but know how many an image has."""
        self._rows = torch.empty(0)
        self._numbers = torch.empty(0, dtype=torch.int64)
        self._count = 0

    def state_of(self, ids: list[int]) -> dict[str, Tensor]:
        """Return the patches of some images, as tensors of their own."""
        numbers = self._numbers[:self._count]
        own = torch.isin(numbers // max(1, self.per_image),
                         torch.tensor(ids, dtype=torch.int64))
        return dict(
            rows=self._rows[:self._count][own],
            numbers=numbers[own],
            per_image=torch.tensor(self.per_image))

    def add_state(self, state: dict[str, Tensor]) -> None:
        """Hold the patches of a state, behind those before."""
        rows = state['rows']
        if not len(rows):
            return
        if not self.per_image:
            self._reserve(int(state['per_image']), rows.shape[1])
        own = slice(self._count, self._count + len(rows))
        self._rows[own] = rows
        self._numbers[own] = state['numbers']
        self._count = own.stop

    def _reserve(self, per_image: int, dim: int) -> None:
        self.per_image = per_image
        images = math.ceil(self.num_images / world_size())
        quota = min(per_image, math.ceil(self.max_patches / self.num_images))
        # Pages that are never written to take no memory.
        self._rows = torch.empty(images * quota, dim)
        self._numbers = torch.empty(images * quota, dtype=torch.int64)

    def _kept_positions(self, image: int) -> Tensor:
        quota = self.max_patches / self.num_images
        if quota >= self.per_image:
            return torch.arange(self.per_image)
        number = int((image + 1) * quota) - int(image * quota)
        generator = torch.Generator().manual_seed(self.seed + image)
        return torch.randperm(
            self.per_image, generator=generator)[:number].sort().values


def replicate_rows(rows: Tensor, row_ids: Tensor, chosen: Tensor) -> Tensor:
    """Give every process the rows with some ids.

    Args:
        rows (Tensor): ``(N, D)`` of this process, possibly none.
        row_ids (Tensor): ``(N,)`` increasing int64 ids; over all processes
            each id occurs once.
        chosen (Tensor): ``(K,)`` ids, the same in all processes.

    Returns:
        Tensor: ``(K, D)`` rows, in the order of ``chosen``.
    """
    found = torch.zeros(len(chosen), rows.shape[1])
    if len(rows):
        place = torch.searchsorted(row_ids, chosen).clamp(max=len(rows) - 1)
        here = row_ids[place] == chosen
        found[here] = rows[place[here]]
    return all_reduce_(found)
