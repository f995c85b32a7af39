import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .nearest_neighbors import squared_norms
from .row_scan import scan_rows, sort_heaps

_SKETCH_DIM = 32
# A product over so few dimensions takes no longer than that of the sketches.
_FEW_DIMS = 64
# Of fewer rows and queries, a product takes less time than the threads.
_FEW_ROWS = 4096
# Queries and rows of a block of bounds: 4 MB stay near the caches.
_HEIGHT = 1024
_BLOCK = 1 << 20
# Rows of the first block, which has no neighbors to compare with yet.
_FIRST_WIDTH = 256
# Queries that are worth another thread.
_FEWEST = 16
# Share of the rows from which comparing takes longer than a product.
_MOST_COMPARED = 1 / 8
# Squares of longer or shorter rows leave the range of float32.
_RANGE = 1e-25, 1e35


class SketchedRows:
    """Rows on the CPU with an exact search for the nearest ones.

    The sketch of a row has its first principal coordinates and, last, the
    length of what they leave over. The distance of two sketches is at most
    that of the rows, by the triangle inequality, so that most rows are ruled
    out by a product over few dimensions. Where the sketches rule out too few,
    products of the rows themselves give the bounds.

    The neighbors are those by distances in float64, ties going to the lowest
    row. They depend neither on the other queries nor on the number of threads.

    Args:
        rows (Tensor): ``(N, D)`` float32, on the CPU.
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self._table = _Table(rows.detach().contiguous())
        self._sketches: _Table | None = None
        if rows.shape[1] > _FEW_DIMS and math.isfinite(self._table.longest):
            self._mean, self._axes = _principal_axes(self._table.rows)
            parts = self._table.rows.split(4096)
            self._sketches = _Table(
                torch.cat([self._sketch(part) for part in parts]))

    def _sketch(self, rows: Tensor) -> Tensor:
        # Rounded only once, from float64.
        centered = rows.double() - self._mean
        coordinates = centered @ self._axes
        rest = centered.addmm_(coordinates, self._axes.T, alpha=-1)
        rest = torch.linalg.vector_norm(rest, dim=1, keepdim=True)
        return torch.cat([coordinates, rest], 1).float()

    def nearest(self,
                queries: Tensor,
                k: int,
                owners: Tensor | None = None,
                excluded: Tensor | None = None) -> Tensor:
        """Find the k nearest rows of each query.

        Args:
            queries (Tensor): ``(Q, D)`` float32, on the CPU.
            k (int): Number of neighbors, at most as many as there are rows.
            owners (Tensor, optional): ``(N,)`` int64, not negative, whose
                each row is.
            excluded (Tensor, optional): ``(Q,)`` int64, whose rows each query
                leaves out; ``k`` others are left. Defaults to None: none.

        Returns:
            Tensor: ``(Q, k)`` int64 indices of rows, nearest first.
        """
        queries = queries.detach().float().contiguous()
        if owners is None or excluded is None:
            owners = torch.zeros(len(self.rows), dtype=torch.int64)
            excluded = torch.full((len(queries), ), -1)
        owners = owners.contiguous()
        few = len(self.rows) < _FEW_ROWS and len(queries) <= _HEIGHT
        sketches = None if few else self._sketches
        threads = 1 if few else torch.get_num_threads()
        step = max(_FEWEST, min(_HEIGHT, -(-len(queries) // threads)))
        scans = [
            _Scan(part, self._table.rows, k, owners, own) for part, own in zip(
                queries.split(step), excluded.split(step), strict=True)
        ]
        search = partial(self._search, sketches)
        if threads == 1 or len(scans) == 1:
            # Automatic mixed precision would round the bounds.
            with torch.autocast('cpu', enabled=False):
                return torch.cat([search(scan) for scan in scans])
        # The threads of a product would go on waiting for the next one for
        # milliseconds, in the way of those that scan.
        try:
            with ThreadPoolExecutor(
                    threads, initializer=torch.set_num_threads,
                    initargs=(1, )) as pool:
                return torch.cat(list(pool.map(search, scans)))
        finally:
            # It is also the number of threads that start later.
            torch.set_num_threads(threads)

    def _search(self, sketches: '_Table | None', scan: '_Scan') -> Tensor:
        first = 0
        if sketches is not None:
            # The error of rounding to float32, and that of float64.
            first = scan.run(
                self._sketch(scan.queries), sketches, 0, _MOST_COMPARED, 1e-6)
        scan.run(scan.queries, self._table, first, 1, 0)
        return scan.neighbors()


class _Table:
    """Rows with their squared norms and the greatest of their norms."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.norms = squared_norms(rows)
        self.longest = float(self.norms.double().max().sqrt())


class _Scan:
    """A search for the nearest rows of some queries."""

    def __init__(self, queries: Tensor, rows: Tensor, k: int, owners: Tensor,
                 excluded: Tensor) -> None:
        self.queries = queries
        self.rows = rows.numpy()
        self.owners = owners.numpy()
        self.excluded = excluded.numpy()
        self.reach = np.full(len(queries), np.inf)
        self.distances = np.full((len(queries), k), np.inf)
        # In a heap, the last in order comes first.
        self.index = np.tile(np.arange(k)[::-1], (len(queries), 1))

    def run(self, points: Tensor, table: _Table, first: int,
            most_compared: float, error: float) -> int:
        """Compare queries with the rows from ``first`` on.

        Args:
            points (Tensor): ``(Q, d)`` float32, of the queries.
            table (_Table): ``(N, d)``, of the rows. A distance of points is
                at most that of queries and rows, up to an error.
            first (int): First row.
            most_compared (float): Share of the rows of a block above which
                the search ends early.
            error (float): Relative to the sum of the norms.

        Returns:
            int: Number of the row that the search has come to.
        """
        offsets = _offsets(points, table.longest, error)
        width = max(_FIRST_WIDTH, _BLOCK // max(1, len(points)))
        out = torch.empty(len(points) * min(width, len(table.rows)))
        while first < len(table.rows):
            block = slice(first, first + (width if first else _FIRST_WIDTH))
            rows = table.rows[block]
            bounds = out[:len(points) * len(rows)].view(len(points), len(rows))
            torch.addmm(
                table.norms[block], points, rows.T, alpha=-2, out=bounds)
            compared = self._compare(bounds.numpy(), first, offsets)
            first += len(rows)
            if compared > most_compared * bounds.numel():
                break
        return first

    def _compare(self, bounds: np.ndarray, first: int,
                 offsets: np.ndarray) -> int:
        return scan_rows(bounds, first, self.queries.numpy(), self.rows,
                         self.reach, offsets, self.owners, self.excluded,
                         self.distances, self.index)

    def neighbors(self) -> Tensor:
        """Return the rows ``(Q, k)`` found, nearest first."""
        sort_heaps(self.distances, self.index)
        return torch.from_numpy(self.index)


def _offsets(points: Tensor, longest: float, error: float) -> np.ndarray:
    """Compute what :func:`scan_rows` needs to compare bounds ``(Q, 2)``."""
    norms = points.double().square().sum(1)
    size = norms.sqrt() + longest
    precise = torch.get_float32_matmul_precision() == 'highest'
    # Each term of a product and each step of its sum are rounded.
    rounding = 2 * (points.shape[1] + 4) * 2.**(-24 if precise else -7)
    offsets = torch.stack([error * size, rounding * size**2 - norms], 1)
    in_range = (size**2 > _RANGE[0]) & (size**2 < _RANGE[1])
    offsets[~in_range] = torch.tensor([torch.inf, 0]).double()
    return offsets.numpy()


def _principal_axes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Find mean ``(D,)`` and leading axes ``(D, d)``, float64, of the rows.

    Subspace iteration over a sample finds them well enough, as any orthogonal
    axes give bounds.
    """
    sample = rows[::max(1, len(rows) // 4096)].double()
    mean = sample.mean(0)
    sample = sample - mean
    axes = torch.randn(
        rows.shape[1],
        _SKETCH_DIM - 1,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(0))
    for _ in range(4):
        axes = torch.linalg.qr(sample.T @ (sample @ axes)).Q
    return mean, axes
