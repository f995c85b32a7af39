"""Compiled loop that compares queries with the rows that bounds leave over."""
import math
import os

import numba
import numpy as np

FAST_MATH = {'reassoc', 'contract', 'nsz'}
# Compiling takes seconds. The functions that these call are all in this
# file: a change elsewhere would not end what is cached.
_CACHE = os.access(os.path.dirname(__file__), os.W_OK)
# Bounds looked at together: few enough to go through if one is small.
_CHUNK = 32


@numba.njit(fastmath=FAST_MATH)
def distance_bound(a, i, b, j):
    """Bound from below of the squared distance of two rows, in float32.

    There is room for rounding: a bound that is too low only costs time.

    Args:
        a (np.ndarray): ``(N, D)`` float32.
        i (int): Row of ``a``.
        b (np.ndarray): ``(M, D)`` float32.
        j (int): Row of ``b``.
    """
    # A difference of float32 numbers and each step of the sum are rounded
    # once, so the relative error stays below (D + 2) / 2^24.
    total = np.float32(0)
    for k in range(a.shape[1]):
        difference = a[i, k] - b[j, k]
        total += difference * difference
    return total * (1 - 1.2e-7 * (a.shape[1] + 2))


@numba.njit(fastmath=FAST_MATH)
def _squared_distance(a, i, b, j):
    # The order of the sum is that of the compiled loop, whichever the rows.
    total = 0.0
    for k in range(a.shape[1]):
        difference = np.float64(a[i, k]) - np.float64(b[j, k])
        total += difference * difference
    return total


@numba.njit
def _find_chunks(bounds, limit, found):
    """Find the chunks with a bound within the limit; return their number."""
    number = 0
    for chunk in range(len(bounds) // _CHUNK):
        part = bounds[chunk * _CHUNK:chunk * _CHUNK + _CHUNK]
        # A sum is compiled to vector instructions, an early end is not.
        beyond = np.int32(0)
        for i in range(_CHUNK):
            beyond += np.int32(part[i] > limit)
        found[number] = chunk
        number += int(beyond < _CHUNK)
    if len(bounds) % _CHUNK:
        found[number] = len(bounds) // _CHUNK
        number += 1
    return number


@numba.njit
def _comes_before(distance, row, other_distance, other_row):
    return distance < other_distance or (distance == other_distance
                                         and row < other_row)


@numba.njit
def _replace_last(distances, rows, count, distance, row):
    """Replace the top of a heap, the last in order, and restore it."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= count:
            break
        if child + 1 < count and _comes_before(distances[child], rows[child],
                                               distances[child + 1],
                                               rows[child + 1]):
            child += 1
        if not _comes_before(distance, row, distances[child], rows[child]):
            break
        distances[place], rows[place] = distances[child], rows[child]
        place = child
    distances[place], rows[place] = distance, row


@numba.njit
def _limit(reach, offsets):
    return np.float32((math.sqrt(reach) + offsets[0])**2 + offsets[1])


@numba.njit(nogil=True, cache=_CACHE)
def scan_rows(bounds, first, queries, rows, reach, offsets, owners, excluded,
              distances, index):
    """Update the nearest rows of queries by a block of rows.

    A row is compared with a query in up to three steps: by a bound from below
    of the squared distance, by the distance in float32, and exactly, in
    float64. Ties go to the lowest row.

    Args:
        bounds (np.ndarray): ``(Q, n)`` float32, of rows ``first`` to
            ``first + n``, less a term of the query.
        first (int): First row of the block.
        queries (np.ndarray): ``(Q, D)`` float32.
        rows (np.ndarray): ``(N, D)`` float32.
        reach (np.ndarray): ``(Q,)`` float64 squared distances that the
            neighbors do not exceed; changed in place.
        offsets (np.ndarray): ``(Q, 2)`` float64 ``a, b``: a row within the
            distance ``r`` of the query has a bound of at most
            ``(r + a)^2 + b``; ``a`` is infinite if squares of such a query
            leave the range of float32.
        owners (np.ndarray): ``(N,)`` int64 owner of each row.
        excluded (np.ndarray): ``(Q,)`` int64, whose rows each query leaves
            out.
        distances (np.ndarray): ``(Q, k)`` float64 heaps of squared distances.
        index (np.ndarray): ``(Q, k)`` int64 rows of the heaps.

    Returns:
        int: Number of rows that were compared in more than the first step.
    """
    width, k = bounds.shape[1], distances.shape[1]
    chunks = np.empty(width // _CHUNK + 1, np.int64)
    compared = 0
    for q in range(len(queries)):
        near, places = distances[q], index[q]
        in_range = offsets[q, 0] < math.inf
        if (first == 0 and q > 0 and distances[q - 1, 0] < math.inf
                and excluded[q] == excluded[q - 1]):
            # Queries side by side have neighbors side by side.
            seed = 0.0
            for i in range(k):
                seed = max(
                    seed, _squared_distance(queries, q, rows, index[q - 1, i]))
            # Compiled here, the sum may have another order.
            reach[q] = seed * (1 + 1e-12)
        limit = _limit(reach[q], offsets[q])
        for chunk in chunks[:_find_chunks(bounds[q], limit, chunks)]:
            start = chunk * _CHUNK
            for i in range(start, min(start + _CHUNK, width)):
                row = first + i
                if bounds[q, i] > limit or owners[row] == excluded[q]:
                    continue
                compared += 1
                if in_range and distance_bound(queries, q, rows,
                                               row) > reach[q]:
                    continue
                distance = _squared_distance(queries, q, rows, row)
                if _comes_before(distance, row, near[0], places[0]):
                    _replace_last(near, places, k, distance, row)
                    if near[0] < reach[q]:
                        reach[q] = near[0]
                        limit = _limit(reach[q], offsets[q])
    return compared


@numba.njit(nogil=True, cache=_CACHE)
def sort_heaps(distances, index):
    """Sort the rows of each heap of :func:`scan_rows`, nearest first."""
    for q in range(len(distances)):
        for count in range(distances.shape[1] - 1, 0, -1):
            distance, row = distances[q, count], index[q, count]
            distances[q, count] = distances[q, 0]
            index[q, count] = index[q, 0]
            _replace_last(distances[q], index[q], count, distance, row)
