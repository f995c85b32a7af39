import math

import numba
import numpy as np
import torch
from torch import Tensor

from .center_distances import squared_distance
from .row_scan import distance_bound


def covering_gaps(rows: Tensor, floor: float,
                  limit: int) -> tuple[Tensor, float]:
    """Rank rows by how much each adds to a covering of all of them.

    The rows are taken greedily: the first, then always the one that is
    farthest in Euclidean distance from those taken before (Gonzalez, 1985).
    That distance is the gap of the row. Gaps never grow along the way, so the
    rows whose gaps are above some number are within this number of all
    others. Ties go to the lower row.

    Args:
        rows (Tensor): ``(N, D)`` float32.
        floor (float): Stop where gaps are not above this.
        limit (int): Most rows that are taken.

    Returns:
        tuple[Tensor, float]: Gaps ``(N,)`` float64, infinity for the first
        row and minus infinity for those that were not taken; and the largest
        distance of one of these from the nearest that was, 0 if all were.
    """
    gaps, left = _gaps(rows.contiguous().numpy(), floor, limit)
    return torch.from_numpy(gaps), left


def covering_bound(chosen: Tensor, thinning: float) -> tuple[float, float]:
    """Bound the covering radius of rows chosen from a part of all rows.

    Each of all rows is within ``thinning`` of one of the part. From this,
    ``K`` rows were chosen greedily, and the next would have a gap of ``g``.
    So all rows are within ``thinning + g`` of the chosen. With the next, they
    are ``K + 1`` rows that are at least ``g`` apart. Whatever ``K`` points
    are to cover all rows, two of those have the same nearest point, and one
    of the two is at least ``g / 2`` from it (Gonzalez, 1985). Hence the
    radius is at most ``2 * (1 + thinning / g)`` times that of the best ``K``
    points: at most 2 times without any thinning, and at most 4 times where
    this is no coarser than the choice.

    Args:
        chosen (Tensor): ``(K + 1, D)``, the chosen rows and the next.
        thinning (float): As above.

    Returns:
        tuple[float, float]: The radius ``thinning + g`` and the factor,
        infinity where ``g`` is 0.
    """
    differences = chosen[:-1].double() - chosen[-1].double()
    gap = float(torch.linalg.vector_norm(differences, dim=1).min())
    return thinning + gap, 2 * (1 + thinning / gap) if gap else math.inf


@numba.njit(nogil=True)
def _gaps(rows, floor, limit):
    nearest = np.full(len(rows), np.inf)
    labels = np.zeros(len(rows), np.int32)
    gaps = np.full(len(rows), -np.inf)
    taken = np.empty(min(limit, len(rows)), np.int64)
    between = np.zeros(len(taken))
    farthest = 0
    left = np.inf if len(rows) else -1.0
    for number in range(len(taken)):
        if math.sqrt(left) <= floor:
            break
        center = farthest
        gaps[center] = math.sqrt(left)
        nearest[center] = -1
        for other in range(number):
            between[other] = distance_bound(rows, center, rows, taken[other])
        taken[number] = center
        left = -1.0
        for row in range(len(rows)):
            distance = nearest[row]
            # With |center - label| >= 2 |row - label|, it is no nearer.
            if (between[labels[row]] < 4 * distance
                    and distance_bound(rows, row, rows, center) < distance):
                closer = squared_distance(rows, row, rows, center)
                if closer < distance:
                    nearest[row] = distance = closer
                    labels[row] = number
            if distance > left:
                left = distance
                farthest = row
    return gaps, math.sqrt(max(left, 0.0))
