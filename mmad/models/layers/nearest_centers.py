from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from .center_distances import SKETCH_DIM, add_centers, sort_by_label

# The key of a row is its squared distance from the nearest center and its
# negative id: the row with the greatest key is the next center.
Key = tuple[float, float]
NO_ROW = -np.inf, -np.inf


class NearestCenters:
    """Rows with the nearest center of each and the distance from it.

    Most exact distances are never computed: the coordinates along the first
    principal axes of the rows, their sketch, give a bound from below, since a
    projection can only shorten a difference.

    Args:
        rows (np.ndarray): ``(N, D)`` float32.
        ids (np.ndarray): ``(N,)`` int64, increasing.
        num_centers (int): Number of centers that will be added at most.
        threads (ThreadPoolExecutor): Threads that share the rows.
    """

    def __init__(self, rows: np.ndarray, ids: np.ndarray, num_centers: int,
                 threads: ThreadPoolExecutor) -> None:
        num_rows, dim = rows.shape
        self.rows = np.ascontiguousarray(rows)
        self.ids = ids
        self.mean, self.basis = _principal_axes(rows)
        self.sketches = np.empty((num_rows, SKETCH_DIM), np.float32)
        # Squares close to zero have few digits.
        self.tolerance = np.float32(1e-36)
        for start in range(0, num_rows, 4096):
            block = slice(start, start + 4096)
            self.sketches[block] = self.sketch(rows[block])
        self.centers = np.empty((num_centers, dim), np.float32)
        self.center_sketches = np.empty((num_centers, SKETCH_DIM), np.float32)
        self.num_centers = 0
        # Squared distances; -1 for a row that is a center itself.
        self.nearest = np.full(num_rows, np.inf)
        self.labels = np.zeros(num_rows, np.int32)
        self.threads = threads

    def sketch(self, rows: np.ndarray) -> np.ndarray:
        """Project rows ``(n, D)`` onto the principal axes, ``(n, d)``."""
        centered = _within_range(rows) - self.mean
        longest = np.einsum('ij,ij->i', centered, centered).max()
        # How far rounding can raise a squared distance between sketches.
        self.tolerance = max(self.tolerance, np.float32(1e-4) * longest)
        return centered @ self.basis

    def exclude(self, row_id: int) -> None:
        """Leave out a row, if it is one of this process, as a center."""
        place = np.searchsorted(self.ids, row_id)
        if place < len(self.ids) and self.ids[place] == row_id:
            self.nearest[place] = -1

    def farthest(self, count: int) -> tuple[np.ndarray, Key]:
        """Find the rows with the greatest keys.

        Args:
            count (int): Number of rows.

        Returns:
            tuple: Their positions ``(count,)``, increasing, or those of all
            rows if there are fewer; and a key that is smaller than the keys
            of these rows and at least as great as those of all others.
        """
        if len(self.nearest) <= count:
            return np.arange(len(self.nearest)), NO_ROW
        last = np.partition(self.nearest, -count)[-count]
        inside = np.flatnonzero(self.nearest > last)
        ties = np.flatnonzero(self.nearest == last)
        ties, outside = np.split(ties, [count - len(inside)])
        return np.sort(np.concatenate([
            inside, ties
        ])), (last, -self.ids[outside[0]] if len(outside) else -np.inf)

    def state(self) -> dict[str, Tensor]:
        """Tell the distances, for :meth:`restore`."""
        return dict(
            nearest=torch.tensor(self.nearest),
            labels=torch.tensor(self.labels),
            num_centers=torch.tensor(self.num_centers))

    def restore(self, state: dict[str, Tensor], centers: np.ndarray) -> None:
        """Take up the distances of the same rows from an earlier state.

        Args:
            state (dict[str, Tensor]): What :meth:`state` told.
            centers (np.ndarray): ``(K, D)``, those added until then, in their
                order; others may follow, which are not added.
        """
        self._append(centers[:int(state['num_centers'])])
        self.nearest[:] = state['nearest']
        self.labels[:] = state['labels']

    def add(self, rows: list[np.ndarray]) -> None:
        """Add centers ``(D,)``, which may be rows of another process."""
        old = self.num_centers
        self._append(rows)
        new = self.num_centers
        order = sort_by_label(self.labels, max(old, 1))
        parts = 4 * torch.get_num_threads()
        jobs = [
            self.threads.submit(add_centers, self.rows, self.sketches, part,
                                self.centers[:new], self.center_sketches[:new],
                                old, self.nearest, self.labels, self.tolerance)
            for part in np.array_split(order, parts)
        ]
        for job in jobs:
            job.result()

    def _append(self, rows: np.ndarray | list[np.ndarray]) -> None:
        if not len(rows):
            return
        new = slice(self.num_centers, self.num_centers + len(rows))
        self.centers[new] = rows
        self.center_sketches[new] = self.sketch(self.centers[new])
        self.num_centers = new.stop


def _principal_axes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``(D,)`` and leading axes ``(D, d)`` of a sample of the rows."""
    dim = rows.shape[1]
    basis = np.zeros((dim, SKETCH_DIM), np.float32)
    if not len(rows):
        return np.zeros(dim, np.float32), basis
    sample = rows[::max(1, len(rows) // 4096)]
    sample = _within_range(sample).astype(np.float64)
    mean = sample.mean(0)
    axes = np.linalg.eigh((sample - mean).T @ (sample - mean))[1]
    basis[:, :dim] = axes[:, :-SKETCH_DIM - 1:-1]
    return mean.astype(np.float32), basis


def _within_range(rows: np.ndarray) -> np.ndarray:
    """Rows whose squares float32 can hold, no farther from each other."""
    return rows.clip(-1e15, 1e15)
