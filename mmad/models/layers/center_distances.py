"""Compiled loops that compare rows with centers.

A row is compared with a center in up to three steps: by a few coordinates of
both, in float32, and exactly, in float64. The first two give bounds from below
of the squared distance, which often tell that the center is not the nearest.
"""
import math

import numba
import numpy as np

from .row_scan import FAST_MATH, distance_bound

SKETCH_DIM = 16


@numba.njit
def squared_distance(a, i, b, j):
    # In a fixed order, so that a distance is the same wherever it is inlined
    # and whichever process computes it; in four sums, for speed.
    p = q = r = s = 0.0
    last = a.shape[1] // 4 * 4
    for k in range(0, last, 4):
        p += (np.float64(a[i, k]) - np.float64(b[j, k]))**2
        q += (np.float64(a[i, k + 1]) - np.float64(b[j, k + 1]))**2
        r += (np.float64(a[i, k + 2]) - np.float64(b[j, k + 2]))**2
        s += (np.float64(a[i, k + 3]) - np.float64(b[j, k + 3]))**2
    for k in range(last, a.shape[1]):
        p += (np.float64(a[i, k]) - np.float64(b[j, k]))**2
    return (p + q) + (r + s)


# Bounds from below of squared distances, with room for the rounding of
# float32: one that is too low only costs time.


@numba.njit(fastmath=FAST_MATH)
def _row_bound(sketches, row, center, tolerance):
    total = np.float32(0)
    for k in range(SKETCH_DIM):
        difference = sketches[row, k] - center[k]
        total += difference * difference
    return total - tolerance


@numba.njit(nogil=True)
def add_center(rows, sketches, center, sketch, nearest, tolerance):
    """Update the squared distances of rows for one more center.

    Args:
        rows (np.ndarray): ``(N, D)`` float32.
        sketches (np.ndarray): ``(N, d)`` float32.
        center (np.ndarray): ``(1, D)`` float32.
        sketch (np.ndarray): ``(d,)`` float32, that of the center.
        nearest (np.ndarray): ``(N,)`` float64 squared distances from the
            nearest center, changed in place.
        tolerance (float): How far rounding can raise a squared distance
            between sketches.
    """
    for row in range(len(rows)):
        distance = nearest[row]
        if (_row_bound(sketches, row, sketch, tolerance) < distance
                and distance_bound(rows, row, center, 0) < distance):
            nearest[row] = min(distance,
                               squared_distance(rows, row, center, 0))


@numba.njit(nogil=True)
def sort_by_label(labels, num_labels):
    """Return the positions ordered by label; equal labels keep their order.

    Args:
        labels (np.ndarray): ``(N,)`` int32 below ``num_labels``.
        num_labels (int): Number of labels.
    """
    ends = np.zeros(num_labels + 1, np.int64)
    for label in labels:
        ends[label + 1] += 1
    ends = np.cumsum(ends)
    order = np.empty(len(labels), np.int64)
    for row in range(len(labels)):
        order[ends[labels[row]]] = row
        ends[labels[row]] += 1
    return order


@numba.njit(fastmath=FAST_MATH)
def _center_bounds(row, columns, tolerance, bounds):
    """Bounds of the squared distances of a row from each column."""
    bounds[:] = -tolerance
    for k in range(0, SKETCH_DIM, 4):
        a, b, c, d = columns[k], columns[k + 1], columns[k + 2], columns[k + 3]
        p, q, r, s = row[k], row[k + 1], row[k + 2], row[k + 3]
        for i in range(len(bounds)):
            bounds[i] += ((a[i] - p)**2 + (b[i] - q)**2 + (c[i] - r)**2 +
                          (d[i] - s)**2)


@numba.njit(nogil=True)
def add_centers(rows, sketches, order, centers, center_sketches, old, nearest,
                labels, tolerance):
    """Update nearest centers and distances of some rows for new centers.

    Rows with the same nearest center are treated together. With ``d`` the
    distance of a row from its center ``a``, a new center ``c`` with
    ``|c - a| >= 2 d`` is no nearer (Elkan, ICML 2003).

    Args:
        rows (np.ndarray): ``(N, D)`` float32.
        sketches (np.ndarray): ``(N, d)`` float32.
        order (np.ndarray): ``(n,)`` positions of the rows to update, those
            with the same label side by side.
        centers (np.ndarray): ``(K, D)`` float32, old and new.
        center_sketches (np.ndarray): ``(K, d)`` float32.
        old (int): Number of centers known before.
        nearest (np.ndarray): ``(N,)`` float64 squared distances, changed in
            place.
        labels (np.ndarray): ``(N,)`` int32 nearest centers, changed in place.
        tolerance (float): How far rounding can raise a squared distance
            between sketches.
    """
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
            between[i] = distance_bound(centers, near[i], centers, label)
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
                               tolerance) < distance and distance_bound(
                                   rows, row, centers, center) < distance):
                    closer = squared_distance(rows, row, centers, center)
                    if closer < distance:
                        nearest[row] = distance = closer
                        labels[row] = center
                        reach = (from_label + math.sqrt(distance))**2
        start = stop
