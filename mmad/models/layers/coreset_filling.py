import math

import torch
from torch import Tensor

from .nearest_neighbors import (
    distances_to,
    merge_smallest,
    nearest_rows,
    squared_norms,
)
from .processes import all_gather, all_gather_rows

# Entries of one block of the distance matrix.
_BLOCK = 1 << 22


def fill_coreset(features: Tensor, row_ids: Tensor, images: Tensor,
                 centers: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Choose rows for the place of the centers of each image.

    All rows are within the covering radius of the centers. Without the
    centers of one image, some rows of the others are farther from what is
    left. Among these, the farthest from all centers left, and from those
    taken before, is taken until all are within the radius: the greedy choice
    of :func:`k_center_greedy`. This is done for each image. Ties go to the
    lowest id. If these were more than twice as many as the centers, so many
    are taken, down to a somewhat larger radius.

    The processes of a distributed run choose together, each with the rows of
    its own images. The distance matrix is formed in blocks; of the rows, only
    those too far away are exchanged.

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

    Returns:
        tuple[Tensor, Tensor]: Ids ``(F,)`` of the rows taken, each at most
        once, and the image ``(F,)`` whose centers each stands in for, in
        ascending order; on the CPU, the same in every process.
    """
    radius = centers.new_zeros(())
    norms = squared_norms(centers)
    places, distances, excluded = [], [], []
    # Image by image, so that nothing is rounded by how they are dealt out.
    counts = torch.unique_consecutive(images, return_counts=True)[1].tolist()
    start = 0
    for image, rows in zip(images.unique().tolist(), features.split(counts)):
        rows = rows.to(centers.device)
        nearest = nearest_rows(rows, centers, norms, 1)
        farthest = distances_to(rows, centers, nearest).max()
        radius = torch.maximum(radius, farthest)
        owner = owners[nearest[:, 0]]
        lost = torch.nonzero(owner != image)[:, 0]
        owner = owner[lost]
        distance = _distances_to_others(rows[lost], centers, norms, owners,
                                        owner)
        places.append(lost.cpu() + start)
        distances.append(distance.cpu())
        excluded.append(owner.cpu())
        start += len(rows)
    covering_radius = float(all_gather(radius).max())
    distance, owner, place = (torch.cat([*parts,
                                         torch.empty(0, dtype=dtype)])
                              for parts, dtype in ((distances, torch.float32),
                                                   (excluded, torch.int64),
                                                   (places, torch.int64)))
    far = distance > covering_radius
    place = place[far]
    return _choose(
        all_gather_rows(row_ids[place]), all_gather_rows(owner[far]),
        all_gather_rows(distance[far]),
        all_gather_rows(features[place.to(features.device)].cpu()),
        covering_radius, 2 * len(centers))


def _distances_to_others(queries: Tensor, rows: Tensor, norms: Tensor,
                         owners: Tensor, excluded: Tensor) -> Tensor:
    """Distance ``(Q,)`` to the nearest row of another than one owner each."""
    width = max(1024, _BLOCK // max(1, len(queries)))
    best = queries.new_full((len(queries), 1), math.inf)
    index = torch.zeros_like(best, dtype=torch.int64)
    for start in range(0, len(rows), width):
        own = slice(start, start + width)
        block = torch.addmm(norms[own], queries, rows[own].T, alpha=-2)
        block.masked_fill_(owners[own] == excluded[:, None], math.inf)
        value, place = block.min(1, keepdim=True)
        best, index = merge_smallest(best, index, value, place + start, 1)
    distances = distances_to(queries, rows, index)
    return distances.where(best < math.inf, math.inf)[:, 0]


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
