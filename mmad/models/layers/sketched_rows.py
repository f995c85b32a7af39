import math

import numpy as np
import torch
from torch import Tensor

from .nearest_neighbors import are_products_exact, squared_norms
from .row_scan import RowScan, float32_slack, scan_rows, sort_heaps
from .sketch_leaves import SketchLeaves
from .thread_parts import for_each

# A product over so few dimensions takes no longer than the sketches.
_FEW_DIMS = 64
# Queries of a task, and tasks of a thread: enough for all to end together.
_HEIGHT, _TASKS = 128, 8
# Queries that are worth a task.
_FEWEST = 16
# Queries and rows of a block of products: 4 MB stay near the caches.
_BLOCK = 1 << 20
# Rows of the first block, which has no neighbors to compare with yet.
_FIRST_WIDTH = 256


class SketchedRows:
    """Rows on the CPU with an exact search for the nearest ones.

    The sketch of a row has its first principal coordinates and, last, the
    length of what they leave over. The distance of two sketches is at most
    that of the rows, by the triangle inequality. Rows with similar sketches
    lie in a leaf of a k-d tree, so that the box around them rules out most
    leaves, coarse sketches most rows of the others, and finer sketches most
    of those. Where the sketches rule out too few, products of the rows
    themselves give the bounds.

    The neighbors are those by distances in float64, ties going to the lowest
    row. They depend neither on the other queries nor on the number of threads.

    Args:
        rows (Tensor): ``(N, D)`` float32, on the CPU.
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self._table = rows.detach().contiguous()
        self._norms = squared_norms(self._table)
        self._longest = float(self._norms.double().max().sqrt())
        self._leaves: SketchLeaves | None = None
        if rows.shape[1] > _FEW_DIMS and math.isfinite(self._longest):
            self._leaves = SketchLeaves(self._table)

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
        threads = torch.get_num_threads()
        step = max(_FEWEST, min(_HEIGHT, len(queries) // (_TASKS * threads)))
        scans = [
            RowScan.start(part, self._table, k, owners, own)
            for part, own in zip(
                queries.split(step), excluded.split(step), strict=True)
        ]
        for_each(self._search, scans)
        return torch.from_numpy(
            np.concatenate([scan.neighbors for scan in scans]))

    def _search(self, scan: RowScan) -> None:
        done = 0 if self._leaves is None else self._leaves.scan(scan)
        if done < len(scan.queries):
            # Automatic mixed precision would round the bounds.
            with torch.autocast('cpu', enabled=False):
                self._multiply(scan.after(done))
        sort_heaps(scan.distances, scan.neighbors)

    def _multiply(self, scan: RowScan) -> None:
        """Compare queries with all rows, with bounds from products."""
        points = torch.from_numpy(scan.queries)
        norms = points.double().square().sum(1)
        size = norms.sqrt() + self._longest
        # Each term of a product and each step of its sum are rounded.
        rounding = 2 * (points.shape[1] +
                        4) * 2.**(-24 if are_products_exact() else -7)
        slack = float32_slack(rounding * size**2 - norms, size)
        width = max(_FIRST_WIDTH, _BLOCK // len(points))
        out = torch.empty(len(points) * min(width, len(self._table)))
        first = 0
        while first < len(self._table):
            block = slice(first, first + (width if first else _FIRST_WIDTH))
            rows = self._table[block]
            bounds = out[:len(points) * len(rows)].view(len(points), len(rows))
            torch.addmm(
                self._norms[block], points, rows.T, alpha=-2, out=bounds)
            scan_rows(bounds.numpy(), first, slack, *scan)
            first += len(rows)
