import math
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import cast

import torch
from rich.progress import track
from torch import Tensor

from .coreset import Tell
from .nearest_neighbors import (
    distances_to,
    merge_smallest,
    nearest_rows,
    squared_norms,
)
from .processes import all_gather, all_gather_rows
from .sketched_rows import SketchedRows

# Entries of one block of the distance matrix.
_BLOCK = 1 << 22
_NOTED = 8  # images from one note to the next


def fill_coreset(
        features: Tensor,
        row_ids: Tensor,
        images: Tensor,
        centers: Tensor,
        owners: Tensor,
        progress: bool = False,
        state: dict[str, Tensor] | None = None,
        note: Callable[[Tell], None] | None = None) -> tuple[Tensor, Tensor]:
    """Choose rows for the place of the centers of each image.

    All rows are within the covering radius of the centers. Without the
    centers of one image, some rows of the others are farther from what is
    left. Among these, the farthest from all centers left, and from those
    taken before, is taken until all are within the radius: the greedy choice
    of :func:`k_center_greedy`. This is done for each image. Ties go to the
    lowest id. If these were more than twice as many as the centers, so many
    are taken, down to a somewhat larger radius.

    The processes of a distributed run choose together, each with the rows of
    its own images. Of the rows, only those too far away are exchanged.

    Args:
        features (Tensor): ``(N, D)`` float32 rows of this process, on any
            device.
        row_ids (Tensor): ``(N,)`` increasing int64 ids on the CPU; over all
            processes each id occurs once.
        images (Tensor): ``(N,)`` int64, ascending, the image of each row, on
            the CPU.
        centers (Tensor): ``(K, D)``, the same in all processes, on the device
            that computes.
        owners (Tensor): ``(K,)`` int64, the image of each center.
        progress (bool): Whether to show a progress bar. Defaults to False.
        state (dict, optional): What the same call has told in this process,
            and in the others at the same time. It goes on from there to the
            same end. Defaults to None.
        note (Callable, optional): Is called from time to time, in all
            processes alike, with a function that tells the state: of each
            image searched so far, a value, and values for each of its rows
            that are nearest to a center of another image, in tensors on the
            CPU. Defaults to None.

    Returns:
        tuple[Tensor, Tensor]: Ids ``(F,)`` of the rows taken, each at most
        once, and the image ``(F,)`` whose centers each stands in for, in
        ascending order; on the CPU, the same in every process.
    """
    search = _CenterSearch(centers, owners)
    found = [state or _nothing()]
    done = len(found[0]['radius'])
    # Image by image, so that nothing is rounded by how they are dealt out.
    numbers, counts = torch.unique_consecutive(images, return_counts=True)
    groups = features.split(counts.tolist())
    start = sum(map(len, groups[:done]))
    # All processes have so many images.
    sure = int(all_gather(torch.tensor(len(groups))).min())
    bar = cast(
        Generator[tuple[int, Tensor]],
        track(
            list(zip(numbers.tolist(), groups, strict=True))[done:],
            'Filling the coreset',
            len(groups),
            completed=done,
            disable=not progress))
    # Whatever happens in a note, no bar is left open.
    with closing(bar):
        for number, (image, rows) in enumerate(bar, done + 1):
            found.append(
                _search_image(search, image, rows.to(centers.device), start))
            start += len(rows)
            if note is not None and number % _NOTED == 0 and number <= sure:
                note(partial(_join, found))
    whole = _join(found)
    radius = torch.cat([torch.zeros(1), whole['radius']]).max()
    covering_radius = float(all_gather(radius).max())
    far = whole['distances'] > covering_radius
    place = whole['places'][far]
    return _choose(
        all_gather_rows(row_ids[place]),
        all_gather_rows(whole['excluded'][far]),
        all_gather_rows(whole['distances'][far]),
        all_gather_rows(features[place.to(features.device)].cpu()),
        covering_radius, 2 * len(centers))


def _nothing() -> dict[str, Tensor]:
    """The state before the first image."""
    return dict(
        radius=torch.empty(0),
        places=torch.empty(0, dtype=torch.int64),
        distances=torch.empty(0),
        excluded=torch.empty(0, dtype=torch.int64))


def _search_image(search: '_CenterSearch', image: int, rows: Tensor,
                  start: int) -> dict[str, Tensor]:
    """Search for the rows of an image, the first of which has a place.

    Returns:
        dict[str, Tensor]: ``radius`` ``(1,)``, the greatest distance of a row
        from its center; and ``(L,)`` of the rows that are nearest to a center
        of another image: places, distances from centers that are not of that
        image, and that image.
    """
    distance, owner, to_others = search.nearest(rows)
    lost = torch.nonzero(owner != image)[:, 0]
    return dict(
        radius=distance.max(0, keepdim=True).values.cpu(),
        places=lost.cpu() + start,
        distances=to_others[lost].cpu(),
        excluded=owner[lost].cpu())


def _join(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


class _CenterSearch:
    """Search for the nearest center, and the nearest of another owner."""

    def __init__(self, centers: Tensor, owners: Tensor) -> None:
        self.centers = centers
        self.owners = owners
        self.norms = squared_norms(centers)
        self.sketched = SketchedRows(centers) if centers.is_cpu else None

    def nearest(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find centers near rows ``(N, D)``.

        Returns:
            tuple[Tensor, Tensor, Tensor]: Each ``(N,)``, the distance of the
            nearest center, its owner, and the distance of the nearest center
            of another owner.
        """
        k = min(2, len(self.centers))
        if self.sketched is not None:
            index = self.sketched.nearest(rows, k)
        else:
            index = nearest_rows(rows, self.centers, self.norms, k)
        distances = distances_to(rows, self.centers, index)
        owners = self.owners[index]
        to_others = distances[:, -1].clone()
        # Mostly the second is of another owner.
        more = torch.nonzero(owners[:, 0] == owners[:, -1])[:, 0]
        to_others[more] = self._to_others(rows[more], owners[more, 0])
        return distances[:, 0], owners[:, 0], to_others

    def _to_others(self, rows: Tensor, excluded: Tensor) -> Tensor:
        if self.sketched is not None:
            index = self.sketched.nearest(rows, 1, self.owners, excluded)
        else:
            index = self._scan_others(rows, excluded)
        distances = distances_to(rows, self.centers, index)[:, 0]
        # Without another owner, any has been found.
        is_other = self.owners[index[:, 0]] != excluded
        return distances.where(is_other, math.inf)

    def _scan_others(self, rows: Tensor, excluded: Tensor) -> Tensor:
        width = max(1024, _BLOCK // max(1, len(rows)))
        best = rows.new_full((len(rows), 1), math.inf)
        index = torch.zeros_like(best, dtype=torch.int64)
        for start in range(0, len(self.centers), width):
            own = slice(start, start + width)
            block = torch.addmm(
                self.norms[own], rows, self.centers[own].T, alpha=-2)
            block.masked_fill_(self.owners[own] == excluded[:, None], math.inf)
            value, place = block.min(1, keepdim=True)
            best, index = merge_smallest(best, index, value, place + start, 1)
        return index


def _choose(row_ids: Tensor, owners: Tensor, distances: Tensor, rows: Tensor,
            radius: float, most: int) -> tuple[Tensor, Tensor]:
    """Take the farthest row of each owner until all are within the radius."""
    order = row_ids.argsort()
    order = order[owners[order].argsort(stable=True)]
    counts = torch.unique(owners, return_counts=True)[1].tolist()
    chosen: list[Tensor] = []
    gaps: list[float] = []
    for group in order.split(counts):
        nearest, own = distances[group], rows[group]
        while (gap := float(nearest.max())) > radius:
            farthest = int(nearest.argmax())
            chosen.append(group[farthest])
            gaps.append(gap)
            distance = torch.linalg.vector_norm(own - own[farthest], dim=1)
            nearest = torch.minimum(nearest, distance)
    taken = torch.tensor(chosen, dtype=torch.int64)
    if len(taken) > most:
        # float64 keeps all distances apart.
        order = torch.tensor(
            gaps, dtype=torch.float64).argsort(
                descending=True, stable=True)
        taken = taken[order[:most].sort().values]
    return row_ids[taken], owners[taken]
