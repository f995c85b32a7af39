"""What the greedy selection remembers of the rows, and its inner loops."""
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch

_SKETCH_DIM = 16
_FAST_MATH = {'reassoc', 'contract', 'nsz'}

# Squared distance and negative id of a row: the greater, the sooner taken.
Key = tuple[float, float]
NO_ROW = -math.inf, -math.inf


class Clusters:
    """Rows, each with its nearest center and the distance from it.

    Before an exact distance is computed, a bound from the leading principal
    components (an orthonormal sketch can only shorten a difference) tries to
    avoid it.

    Args:
        rows (np.ndarray): ``(N, D)`` float32.
        ids (np.ndarray): ``(N,)`` int64, increasing.
        num_centers (int): How many centers will be added at most.
        threads (ThreadPoolExecutor): To share the rows out to.
    """

    def __init__(self, rows: np.ndarray, ids: np.ndarray, num_centers: int,
                 threads: ThreadPoolExecutor) -> None:
        num_rows, dim = rows.shape
        self.rows = np.ascontiguousarray(rows)
        self.ids = ids
        self.mean, self.basis = _principal_axes(rows)
        self.sketches = np.empty((num_rows, _SKETCH_DIM), np.float32)
        self.tolerance = np.float32(0)
        for start in range(0, num_rows, 4096):
            block = slice(start, start + 4096)
            self.sketches[block] = self.sketch(rows[block])
        self.centers = np.empty((num_centers, dim), np.float32)
        self.center_sketches = np.empty((num_centers, _SKETCH_DIM),
                                        np.float32)
        self.num_centers = 0
        self.nearest = np.full(num_rows, np.inf)  # squared; -1: is a center
        self.labels = np.zeros(num_rows, np.int32)
        self.threads = threads

    def sketch(self, rows: np.ndarray) -> np.ndarray:
        """Coordinates ``(n, d)`` of rows along the principal axes."""
        centered = rows - self.mean
        longest = np.einsum('ij,ij->i', centered, centered).max()
        # How far rounding can raise a squared distance between sketches.
        self.tolerance = max(self.tolerance, np.float32(1e-4) * longest)
        return centered @ self.basis

    def farthest(self, count: int) -> tuple[np.ndarray, Key]:
        """Positions of the rows with the greatest keys, and the next key.

        Returns:
            tuple: Positions ``(count,)``, increasing, or those of all rows;
            a key below those of these rows and not below any other's.
        """
        if len(self.nearest) <= count:
            return np.arange(len(self.nearest)), NO_ROW
        last = np.partition(self.nearest, -count)[-count]
        inside = np.flatnonzero(self.nearest > last)
        ties = np.flatnonzero(self.nearest == last)
        ties, outside = np.split(ties, [count - len(inside)])
        return np.sort(np.concatenate([inside, ties])), (
            last, -self.ids[outside[0]] if len(outside) else -math.inf)

    def add(self, rows: list[np.ndarray]) -> None:
        """Make rows ``(D,)``, from here or elsewhere, the next centers."""
        old, new = self.num_centers, self.num_centers + len(rows)
        self.num_centers = new
        self.centers[old:new] = rows
        self.center_sketches[old:new] = self.sketch(self.centers[old:new])
        order = _by_label(self.labels, max(old, 1))
        parts = 4 * torch.get_num_threads()
        jobs = [
            self.threads.submit(_add_centers, self.rows, self.sketches, part,
                                self.centers[:new], self.center_sketches[:new],
                                old, self.nearest, self.labels,
                                self.tolerance)
            for part in np.array_split(order, parts)
        ]
        for job in jobs:
            job.result()


class Pool:
    """The rows that the next centers come from.

    Args:
        clusters (Clusters): Where they are.
        members (Sequence[int]): Their positions there, increasing.
    """

    def __init__(self, clusters: Clusters, members: Sequence[int]) -> None:
        self.clusters = clusters
        self.members = np.asarray(members, np.int64)
        self.rows = clusters.rows[self.members]
        self.sketches = clusters.sketches[self.members]
        self.nearest = clusters.nearest[self.members]
        self.centers = []

    def farthest(self) -> tuple[Key, np.ndarray]:
        """Key and values of the first row in the order of keys."""
        if len(self.nearest):
            self.best = self.nearest.argmax()
            score = self.nearest[self.best]
            if score >= 0:
                row_id = self.clusters.ids[self.members[self.best]]
                return (float(score), -float(row_id)), self.rows[self.best]
        return NO_ROW, np.zeros(self.rows.shape[1], np.float32)

    def add(self, center: np.ndarray, ours: bool) -> None:
        """Make the elected row a center; ``ours``: the one just offered."""
        self.centers.append(center)
        if ours:
            self.nearest[self.best] = -1
            self.clusters.nearest[self.members[self.best]] = -1
        _approach(self.rows, self.sketches, center[None],
                  self.clusters.sketch(center[None])[0], self.nearest,
                  self.clusters.tolerance)


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


@numba.njit
def _squared_distance(a, i, b, j):
    # In a fixed order, so that a distance is the same wherever it is inlined
    # and whichever process computes it; in four sums, for speed.
    p = q = r = s = 0.0
    whole = a.shape[1] // 4 * 4
    for k in range(0, whole, 4):
        p += (np.float64(a[i, k]) - np.float64(b[j, k]))**2
        q += (np.float64(a[i, k + 1]) - np.float64(b[j, k + 1]))**2
        r += (np.float64(a[i, k + 2]) - np.float64(b[j, k + 2]))**2
        s += (np.float64(a[i, k + 3]) - np.float64(b[j, k + 3]))**2
    for k in range(whole, a.shape[1]):
        p += (np.float64(a[i, k]) - np.float64(b[j, k]))**2
    return (p + q) + (r + s)


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
def _row_bound(sketches, row, center, tolerance):
    total = np.float32(0)
    for k in range(_SKETCH_DIM):
        difference = sketches[row, k] - center[k]
        total += difference * difference
    return total - tolerance


@numba.njit(nogil=True)
def _approach(rows, sketches, center, sketch, nearest, tolerance):
    for row in range(len(rows)):
        distance = nearest[row]
        if (_row_bound(sketches, row, sketch, tolerance) < distance
                and _distance_bound(rows, row, center, 0) < distance):
            nearest[row] = min(distance,
                               _squared_distance(rows, row, center, 0))


@numba.njit(nogil=True)
def _by_label(labels, num_labels):
    """Positions sorted by label, and within a label."""
    ends = np.zeros(num_labels + 1, np.int64)
    for label in labels:
        ends[label + 1] += 1
    ends = np.cumsum(ends)
    order = np.empty(len(labels), np.int64)
    for row in range(len(labels)):
        order[ends[labels[row]]] = row
        ends[labels[row]] += 1
    return order


@numba.njit(fastmath=_FAST_MATH)
def _center_bounds(row, columns, tolerance, bounds):
    """Of the distances of a row from each column."""
    bounds[:] = -tolerance
    for k in range(0, _SKETCH_DIM, 4):
        a, b, c, d = columns[k], columns[k + 1], columns[k + 2], columns[k + 3]
        p, q, r, s = row[k], row[k + 1], row[k + 2], row[k + 3]
        for i in range(len(bounds)):
            bounds[i] += ((a[i] - p)**2 + (b[i] - q)**2 + (c[i] - r)**2 +
                          (d[i] - s)**2)


@numba.njit(nogil=True)
def _add_centers(rows, sketches, order, centers, center_sketches, old,
                 nearest, labels, tolerance):
    # One line per axis, so that one axis of all new centers lies together.
    columns = np.ascontiguousarray(center_sketches[old:].T)
    bounds = np.empty(len(centers) - old, np.float32)
    start = 0
    while start < len(order):
        label = labels[order[start]]
        reach, stop = 0.0, start
        while stop < len(order) and labels[order[stop]] == label:
            reach = max(reach, 4 * nearest[order[stop]])
            stop += 1
        _center_bounds(center_sketches[label], columns, tolerance, bounds)
        near = old + np.flatnonzero(bounds < reach)
        between = np.empty(len(near))
        for i in range(len(near)):
            between[i] = _distance_bound(centers, near[i], centers, label)
        ranking = np.argsort(between)
        for row in order[start:stop]:
            distance = nearest[row]
            # With |label - row| + |row - nearest center|, squared, a center
            # that far from the label cannot be nearer to the row.
            from_label = math.sqrt(max(distance, 0))
            reach = 4 * distance
            for i in ranking:
                center = near[i]
                if between[i] >= reach:
                    break
                if (_row_bound(sketches, row, center_sketches[center],
                               tolerance) < distance and _distance_bound(
                                   rows, row, centers, center) < distance):
                    closer = _squared_distance(rows, row, centers, center)
                    if closer < distance:
                        nearest[row] = distance = closer
                        labels[row] = center
                        reach = (from_label + math.sqrt(distance))**2
        start = stop
