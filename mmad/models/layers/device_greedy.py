import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .processes import all_gather, world_size
from .row_distances import RowDistances, exact_distances

# Candidates of all processes together.
_NUM_CANDIDATES = 4096
# Picks between two looks at whether the candidates are used up.
_NUM_PICKS = 32


def device_greedy(rows: RowDistances, number: int) -> Iterator[int]:
    """Take the farthest rows one after the other, on an accelerator.

    The processes of a distributed run choose together. Each offers its
    farthest rows to all, in one exchange. Distances only shrink, so the next
    rows are all among these candidates until the best of them is nearer than
    some other row; then all rows meet the new centers. Every process makes
    the same choice among the candidates, on its device, and the host waits
    for it once in 32 picks only.

    Args:
        rows (RowDistances): Rows of this process, with at least one center;
            those taken become centers.
        number (int): Number of rows to take, at most as many as there are
            over all processes that are no centers.

    Yields:
        int: The ids of the rows in order, the same in every process. Ties go
        to the lowest id.
    """
    count = math.ceil(_NUM_CANDIDATES / world_size())
    while number:
        taken, ids = _take(*_candidates(rows, count), number)
        # Before they are centers, so that none is one that was not yielded.
        yield from ids.tolist()
        rows.add(taken, ids)
        number -= len(ids)


def _candidates(rows: RowDistances,
                count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Candidates of all processes, and the best row that is none of them.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Rows ``(C, D)``, distances and ids
        ``(C, 2)`` with ids ascending, and distance and id ``(2,)`` of the
        best other row.
    """
    own_rows, own_keys = rows.farthest(count)
    keys = all_gather(own_keys)
    candidates = all_gather(own_rows).flatten(0, 1)
    others, keys = keys[:, -1], keys[:, :-1].flatten(0, 1)
    distance = others[:, 0].max()
    ties = others[:, 1].where(others[:, 0] == distance, math.inf)
    order = keys[:, 1].argsort()
    return candidates[order], keys[order], torch.stack([distance, ties.min()])


def _take(candidates: Tensor, keys: Tensor, other: Tensor,
          number: int) -> tuple[Tensor, Tensor]:
    """Take candidates, at least one, until the other row is farther."""
    # Exact, as they were float32 before.
    nearest, ids = keys[:, 0].to(candidates.dtype), keys[:, 1].long()
    taken: list[Tensor] = []
    while len(taken) < number:
        picks, distances = _pick(candidates, nearest,
                                 min(_NUM_PICKS, number - len(taken)))
        farther = (distances > other[0]) | ((distances == other[0]) &
                                            (ids[picks] < other[1]))
        valid = int(((distances >= 0) & farther).long().cumprod(0).sum())
        taken += picks[:valid].split(1)
        if valid < len(picks):
            break
    places = torch.cat(taken)
    return candidates[places], ids[places]


def _pick(candidates: Tensor, nearest: Tensor,
          number: int) -> tuple[Tensor, Tensor]:
    """Pick the farthest candidates one after the other, without the host.

    Args:
        candidates (Tensor): ``(C, D)``.
        nearest (Tensor): ``(C,)``, changed in place.
        number (int): Number of picks.

    Returns:
        tuple[Tensor, Tensor]: Places and distances ``(number,)``.
    """
    places, distances = [], []
    for _ in range(number):
        # The first of equal ones, which has the lowest id. An index without
        # a dimension would be read by the host.
        place = nearest.argmax(0, keepdim=True)
        places.append(place)
        distances.append(nearest[place])
        from_pick = exact_distances(candidates, candidates[place])[:, 0]
        torch.minimum(nearest, from_pick, out=nearest)
        nearest.index_fill_(0, place, -1)
    return torch.cat(places), torch.cat(distances)
