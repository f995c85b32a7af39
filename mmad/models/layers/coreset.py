"""Greedy k-center selection (PatchCore, Algorithm 1), exact and pruned."""
import math

import numba
import numpy as np
import torch
import torch.distributed as dist
from rich.progress import track
from torch import Tensor

from mmad.errors import InputError

_SKETCH_DIM = 16
_FAST_MATH = {'reassoc', 'contract', 'nsz'}


def random_projection(in_dim: int, out_dim: int, seed: int = 0) -> Tensor:
    """Gaussian Johnson-Lindenstrauss projection, entries N(0, 1 / out_dim).

    Returns:
        Tensor: ``(in_dim, out_dim)`` float32, drawn on the CPU, so the same
        in every process.
    """
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(in_dim, out_dim, generator=generator)
    return matrix / math.sqrt(out_dim)


def k_center_greedy(features: Tensor,
                    num_select: int,
                    first: int = 0,
                    row_ids: Tensor | None = None,
                    distributed: bool = False,
                    progress: bool = False) -> Tensor:
    """Choose rows greedily so that every row is near a chosen one.

    Starting with row ``first``, each step takes the row that is farthest in
    Euclidean distance from all taken before (PatchCore, arXiv 2106.08265,
    Algorithm 1); ties go to the lowest id.

    On the CPU, rows that the triangle inequality rules out are not touched
    (Elkan, ICML 2003): with ``d`` the distance of a row to its nearest centre
    ``a``, a new centre ``c`` with ``|c - a| >= 2 d`` is no nearer. That
    changes the time and nothing else. Rows on the GPU take the plain loop
    without host synchronisation.

    Args:
        features (Tensor): ``(N, D)`` finite float32 rows. With
            ``distributed``, the rows of this process alone.
        num_select (int): How many rows to take, over all processes.
        first (int): Id of the first row taken. Defaults to 0.
        row_ids (Tensor, optional): ``(N,)`` increasing int64 ids on the CPU;
            over all processes each id occurs once. Defaults to
            ``0 ... N - 1``.
        distributed (bool): Choose together with the other processes of the
            default group, which hold the other rows. Defaults to False.
        progress (bool): Show a progress bar. Defaults to False.

    Returns:
        Tensor: ``(num_select,)`` int64 ids on the CPU in order of selection,
        each at most once; the same in every process.

    Raises:
        InputError: ``num_select`` is out of range, or no row has the id
            ``first``.
    """
    if row_ids is None:
        row_ids = torch.arange(len(features))
    processes = _Processes(distributed)
    total = processes.total(len(features))
    if not 1 <= num_select <= total:
        raise InputError(f'cannot select {num_select} of {total} rows.')
    here = torch.nonzero(row_ids == first).flatten().tolist()
    if not processes.total(len(here)):
        raise InputError(f'the first row {first} is not one of the rows.')
    steps = track(
        range(num_select), 'Selecting the coreset', disable=not progress)
    if features.is_cuda and not distributed:
        return row_ids[_plain_greedy(features, here[0], steps)]

    clusters = _Clusters(features.cpu().numpy(), row_ids.numpy(), num_select)
    score, candidate = (math.inf, here[0]) if here else (-math.inf, -1)
    chosen = []
    for _ in steps:
        row_id, row, won = processes.elect(score, *clusters.row(candidate))
        chosen.append(row_id)
        clusters.add(row, candidate if won else -1)
        score, candidate = clusters.farthest()
    return torch.tensor(chosen)


def _plain_greedy(features: Tensor, first: int, steps) -> Tensor:
    index = torch.tensor(first, device=features.device)
    nearest = features.new_full((len(features), ), math.inf)
    chosen = []
    for _ in steps:
        chosen.append(index)
        # Without the expansion into products there is neither cancellation
        # nor a temporary of the size of `features`.
        distance = torch.cdist(
            features,
            features[index, None],
            compute_mode='donot_use_mm_for_euclid_dist')
        torch.minimum(nearest, distance[:, 0], out=nearest)
        nearest[index] = -1
        index = nearest.argmax()
    return torch.stack(chosen).cpu()


class _Processes:
    """Sums and elections over the processes; alone, both are trivial."""

    def __init__(self, distributed: bool) -> None:
        self.several = distributed and dist.get_world_size() > 1
        self.device = 'cuda' if self.several and dist.get_backend(
        ) == 'nccl' else 'cpu'

    def total(self, count: int) -> int:
        if not self.several:
            return count
        value = torch.tensor(count, device=self.device)
        dist.all_reduce(value)
        return int(value)

    def elect(self, score: float, row_id: int,
              row: np.ndarray) -> tuple[int, np.ndarray, bool]:
        """Find the row with the highest score, then the lowest id.

        Returns:
            tuple: Its id, its values ``(D,)`` and whether it is ours.
        """
        if not self.several:
            return row_id, row, True
        ballot = torch.tensor([score, row_id, *row], dtype=torch.float64)
        ballots = [
            torch.empty_like(ballot, device=self.device)
            for _ in range(dist.get_world_size())
        ]
        dist.all_gather(ballots, ballot.to(self.device))
        ballots = torch.stack(ballots).cpu().numpy()
        winner = np.lexsort((ballots[:, 1], -ballots[:, 0]))[0]
        return (int(ballots[winner, 1]),
                ballots[winner, 2:].astype(np.float32),
                winner == dist.get_rank())


class _Clusters:
    """Rows as linked lists, one list per centre chosen so far.

    A cluster keeps its radius, so most are skipped as a whole. Before an
    exact distance is computed, a bound from the leading principal components
    (an orthonormal sketch can only shorten a difference) tries to avoid it.

    Args:
        rows (np.ndarray): ``(N, D)`` float32.
        ids (np.ndarray): ``(N,)`` int64, increasing.
        num_centres (int): How many centres will be added.
    """

    def __init__(self, rows: np.ndarray, ids: np.ndarray,
                 num_centres: int) -> None:
        num_rows, dim = rows.shape
        self.rows = np.ascontiguousarray(rows)
        self.mean, self.basis = _principal_axes(rows)
        self.sketches = np.empty((num_rows, _SKETCH_DIM), np.float32)
        self.tolerance = np.float32(0)
        for start in range(0, num_rows, 4096):
            centred = rows[start:start + 4096] - self.mean
            np.matmul(
                centred, self.basis, out=self.sketches[start:start + 4096])
            longest = np.einsum('ij,ij->i', centred, centred).max()
            self.tolerance = max(self.tolerance, np.float32(1e-4) * longest)
        self.ids = ids
        self.centres = np.empty((num_centres, dim), np.float32)
        # One row per axis, so that one axis of all centres lies side by side.
        self.centre_sketches = np.empty((_SKETCH_DIM, num_centres),
                                        np.float32)
        self.nearest = np.full(num_rows, np.inf)  # squared distances
        self.next = np.arange(1, num_rows + 1)
        self.heads = np.full(num_centres, -1)
        self.radii = np.full(num_centres, -1.0)  # squared; -1: no rows
        self.far = np.full(num_centres, -1)
        self.num = 0
        self.regroup_at = 16
        if num_rows:
            self.next[-1] = -1

    def row(self, position: int) -> tuple[int, np.ndarray]:
        """Id and values of a row; -1 and zeros for no row."""
        if position < 0:
            return -1, np.zeros(self.rows.shape[1], np.float32)
        return int(self.ids[position]), self.rows[position]

    def farthest(self) -> tuple[float, int]:
        """Squared distance and position of the farthest row, or -inf, -1."""
        return _farthest(self.ids, self.radii, self.far, self.num)

    def add(self, row: np.ndarray, position: int) -> None:
        """Make ``row`` a centre, and drop it from the rows if it is here."""
        new = self.num
        self.centres[new] = row
        centred = row - self.mean
        self.centre_sketches[:, new] = centred @ self.basis
        self.tolerance = max(self.tolerance,
                             np.float32(1e-4) * (centred @ centred))
        if new == 0:
            # All rows start in the list of the first centre.
            self.heads[0] = 0 if len(self.rows) else -1
            self.radii[0] = np.inf
        _add_centre(self.rows, self.sketches, self.ids, self.centres,
                    self.centre_sketches, new, position, self.nearest,
                    self.next, self.heads, self.radii, self.far,
                    self.tolerance)
        self.num += 1
        if self.num == self.regroup_at:
            self._regroup()

    def _regroup(self) -> None:
        """Lay the rows of a cluster side by side in memory."""
        self.regroup_at *= 2
        order = _regroup(self.heads, self.next, self.far, self.num)
        self.rows = self.rows[order]
        self.sketches = self.sketches[order]
        self.nearest = self.nearest[order]
        self.ids = self.ids[order]


def _principal_axes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``(D,)`` and leading axes ``(D, d)`` of a sample of the rows."""
    dim = rows.shape[1]
    basis = np.zeros((dim, _SKETCH_DIM), np.float32)
    if not len(rows):
        return np.zeros(dim, np.float32), basis
    sample = rows[::max(1, len(rows) // 4096)].astype(np.float64)
    mean = sample.mean(0)
    axes = np.linalg.eigh((sample - mean).T @ (sample - mean))[1]
    basis[:, :dim] = axes[:, :-_SKETCH_DIM - 1:-1]
    return mean.astype(np.float32), basis


@numba.njit(fastmath=_FAST_MATH)
def _squared_distance(a, i, b, j):
    total = 0.0
    for k in range(a.shape[1]):
        difference = np.float64(a[i, k]) - np.float64(b[j, k])
        total += difference * difference
    return total


# Bounds from below of squared distances, with room for the rounding of
# float32: one that is too low only costs time.


@numba.njit(fastmath=_FAST_MATH)
def _distance_bound(a, i, b, j):
    # A difference of float32 numbers and each step of the sum are rounded
    # once, so the relative error stays below (D + 2) / 2^24.
    total = np.float32(0)
    for k in range(a.shape[1]):
        difference = a[i, k] - b[j, k]
        total += difference * difference
    return total * (1 - 1.2e-7 * (a.shape[1] + 2))


@numba.njit(fastmath=_FAST_MATH)
def _row_bound(sketches, row, centre, tolerance):
    total = np.float32(0)
    for k in range(_SKETCH_DIM):
        difference = sketches[row, k] - centre[k]
        total += difference * difference
    return total - tolerance


@numba.njit(fastmath=_FAST_MATH)
def _centre_bounds(centre_sketches, new, tolerance):
    bounds = np.full(new, -tolerance, np.float32)
    for k in range(0, _SKETCH_DIM, 4):
        a, b = centre_sketches[k], centre_sketches[k + 1]
        c, d = centre_sketches[k + 2], centre_sketches[k + 3]
        for i in range(new):
            bounds[i] += ((a[i] - a[new])**2 + (b[i] - b[new])**2 +
                          (c[i] - c[new])**2 + (d[i] - d[new])**2)
    return bounds


@numba.njit
def _add_centre(rows, sketches, ids, centres, centre_sketches, new, chosen,
                nearest, following, heads, radii, far, tolerance):
    bounds = _centre_bounds(centre_sketches, new, tolerance)
    sketch = centre_sketches[:, new].copy()
    for i in range(max(new, 1)):
        if radii[i] < 0:
            continue
        limit = 0.0
        # The cluster of the chosen row has to give it up.
        if new > 0 and (chosen < 0 or far[i] != chosen):
            if radii[i] == 0:
                continue
            reach = 4 * radii[i]
            if bounds[i] >= reach:
                continue
            between = _distance_bound(centres, new, centres, i)
            if between >= reach:
                continue
            limit = between / 4
        radius, farthest = -1.0, -1
        previous, row = -1, heads[i]
        while row >= 0:
            after = following[row]
            distance = nearest[row]
            moved = row == chosen
            if not moved and distance > limit and _row_bound(
                    sketches, row, sketch,
                    tolerance) < distance and _distance_bound(
                        rows, row, centres, new) < distance:
                closer = _squared_distance(rows, row, centres, new)
                moved = new > 0 and closer < distance
                if closer < distance:
                    nearest[row] = distance = closer
            if moved:
                if previous < 0:
                    heads[i] = after
                else:
                    following[previous] = after
                if row != chosen:
                    following[row] = heads[new]
                    heads[new] = row
                    if distance > radii[new] or (
                            distance == radii[new]
                            and ids[row] < ids[far[new]]):
                        radii[new], far[new] = distance, row
            else:
                if distance > radius or (distance == radius
                                         and ids[row] < ids[farthest]):
                    radius, farthest = distance, row
                previous = row
            row = after
        radii[i], far[i] = radius, farthest


@numba.njit
def _farthest(ids, radii, far, num):
    best, position = -np.inf, -1
    for i in range(num):
        if radii[i] >= 0 and (radii[i] > best or
                              (radii[i] == best
                               and ids[far[i]] < ids[position])):
            best, position = radii[i], far[i]
    return best, position


@numba.njit
def _regroup(heads, following, far, num):
    order = np.empty(len(following), np.int64)
    size = 0
    for i in range(num):
        row = heads[i]
        if row >= 0:
            heads[i] = size
        while row >= 0:
            order[size] = row
            if far[i] == row:
                far[i] = -2 - size
            size += 1
            row = following[row]
        far[i] = -2 - far[i] if far[i] < -1 else -1
    end = size
    for i in range(num - 1, -1, -1):
        if heads[i] >= 0:
            for row in range(heads[i], end):
                following[row] = row + 1
            following[end - 1] = -1
            end = heads[i]
    return order[:size]
