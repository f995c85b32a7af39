import math

import numpy as np
import torch
from torch import Tensor

from .row_scan import RowScan, scan_leaves, sketch_rows

# Principal coordinates of the sketches and of their details. More of them
# rule out more rows, but take longer.
_COARSE, _FINE = 32, 63
# Rows of a leaf: a few vectors of numbers for each dimension.
_LEAF = 64


class SketchLeaves:
    """Sketches of rows, in leaves of similar ones.

    The sketch of a row has its first principal coordinates and, last, the
    length of what they leave over. The distance of two sketches is at most
    that of the rows, by the triangle inequality.

    Args:
        rows (Tensor): ``(N, D)`` float32, on the CPU, with norms that float32
            can hold.
    """

    def __init__(self, rows: Tensor) -> None:
        self._mean, self._axes = (
            found.numpy() for found in _principal_axes(
                rows, min(rows.shape[1], _COARSE + _FINE)))
        num_fine = len(self._axes) - _COARSE
        sketches = np.empty((len(rows), _COARSE + 1), np.float32)
        details = np.empty((len(rows), num_fine + 1), np.float32)
        norms = np.empty(len(rows))
        sketch_rows(rows.numpy(), self._mean, self._axes, sketches, details,
                    norms)
        self._longest = norms.max()
        self._members = np.concatenate(
            _split(sketches, np.arange(len(sketches))))
        self._details = details[self._members]
        num, dim = -(-len(rows) // _LEAF), sketches.shape[1]
        leaves = np.full((num, _LEAF, dim), np.nan, np.float32)
        leaves.reshape(-1, dim)[:len(rows)] = sketches[self._members]
        self._columns = np.ascontiguousarray(leaves.transpose(0, 2, 1))
        self._lows = np.ascontiguousarray(np.nanmin(leaves, 1).T)
        self._highs = np.ascontiguousarray(np.nanmax(leaves, 1).T)

    def scan(self, scan: RowScan) -> int:
        """Update the nearest rows of queries.

        Args:
            scan (RowScan): The queries and what is known of their neighbors.

        Returns:
            int: Number of queries that are done, the first ones. The sketches
            rule out too few rows for the others.
        """
        return scan_leaves(self._mean, self._axes, self._longest, self._lows,
                           self._highs, self._columns, self._members,
                           self._details, *scan)


def _split(points: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Split rows of points ``(N, d)`` into leaves, halving the widest axis.

    All leaves but the last are full.
    """
    if len(rows) <= _LEAF:
        return [rows]
    own = points[rows]
    half = _LEAF * math.ceil(len(rows) / _LEAF / 2)
    order = own[:, own.var(0).argmax()].argpartition(half)
    return [
        *_split(points, rows[order[:half]]),
        *_split(points, rows[order[half:]])
    ]


def _principal_axes(rows: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Find mean ``(D,)`` and leading axes ``(d, D)``, float64, of the rows.

    Subspace iteration over a sample finds them well enough, as any orthogonal
    axes give bounds.
    """
    sample = rows[::max(1, len(rows) // 4096)].double()
    mean = sample.mean(0)
    sample = sample - mean
    axes = torch.randn(
        rows.shape[1],
        num,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(0))
    for _ in range(4):
        axes = torch.linalg.qr(sample.T @ (sample @ axes)).Q
    # In order of their variance.
    turn = torch.linalg.eigh((sample @ axes).T @ (sample @ axes)).eigenvectors
    return mean, (axes @ turn.flip(1)).T.contiguous()
