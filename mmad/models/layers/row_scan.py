"""Compiled loops that compare queries with the rows that bounds leave over."""
import math
import os
from typing import NamedTuple

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

FAST_MATH = {'reassoc', 'contract', 'nsz'}
# Compiling takes seconds. The functions that these call are all in this
# file: a change elsewhere would not end what is cached. Nor does a change of
# the flags above end what other files have cached.
CACHE = os.access(os.path.dirname(__file__), os.W_OK)
# Numbers of float32 in a line of the cache.
LINE = 16
# Bounds looked at together: few enough to go through if one is small.
_CHUNK = 32
# Squares of longer or shorter rows leave the range of float32.
_RANGE = 1e-25, 1e35
_GREATEST = np.finfo(np.float32).max
# Rows that are worth a comparison: they come from the memory together.
_PENDING = 8
# Comparing rows takes about as long as comparing so many details.
_ROW_COST = 8
# Comparisons per row and query that take longer than a product.
_MOST_SPENT = 0.5


class RowScan(NamedTuple):
    """The state of a search for the nearest rows of some queries.

    Args:
        queries (np.ndarray): ``(Q, D)`` float32.
        rows (np.ndarray): ``(N, D)`` float32.
        owners (np.ndarray): ``(N,)`` int64 owner of each row.
        excluded (np.ndarray): ``(Q,)`` int64, whose rows each query leaves
            out.
        reach (np.ndarray): ``(Q,)`` float64 squared distances that the
            neighbors do not exceed.
        distances (np.ndarray): ``(Q, k)`` float64 heaps of squared distances.
        neighbors (np.ndarray): ``(Q, k)`` int64 rows of the heaps.
    """
    queries: np.ndarray
    rows: np.ndarray
    owners: np.ndarray
    excluded: np.ndarray
    reach: np.ndarray
    distances: np.ndarray
    neighbors: np.ndarray

    @classmethod
    def start(cls, queries: Tensor, rows: Tensor, k: int, owners: Tensor,
              excluded: Tensor) -> 'RowScan':
        """Return a search for ``k`` rows that has found nothing yet."""
        num = len(queries)
        return cls(
            queries.numpy(),
            rows.numpy(),
            owners.numpy(),
            excluded.numpy(),
            np.full(num, np.inf),
            np.full((num, k), np.inf),
            # In a heap, the last in order comes first.
            np.tile(np.arange(k)[::-1], (num, 1)))

    def after(self, first: int) -> 'RowScan':
        """Return the search for the queries from ``first`` on, as views."""
        return RowScan(self.queries[first:], self.rows, self.owners,
                       self.excluded[first:], self.reach[first:],
                       self.distances[first:], self.neighbors[first:])


def float32_slack(slack: Tensor, size: Tensor) -> np.ndarray:
    """Return the slack, infinite where float32 cannot hold the squares.

    Args:
        slack (Tensor): ``(Q,)`` float64.
        size (Tensor): ``(Q,)`` float64, largest norm of what is squared.
    """
    square = size**2
    in_range = (square > _RANGE[0]) & (square < _RANGE[1])
    return slack.where(in_range, torch.inf).numpy()


@intrinsic
def prefetch(typing_context, numbers, place):
    """Have the CPU read an entry of an array ``(N,)``, without waiting."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(numbers)(context, builder, arguments[0])
        entry = builder.bitcast(
            builder.gep(array.data, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(),
                            [cgutils.voidptr_t, number, number, number]),
            'llvm.prefetch.p0i8')
        # To be read, into all caches, and data.
        builder.call(function, [entry, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(numbers, types.intp), generate


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
    # once, so the relative error stays below (D + 2) / 2^24. A square close to
    # zero has an error of at most half the least float32, 2^-149. A sum beyond
    # the greatest is infinite, which is no bound.
    total = np.float32(0)
    for k in range(a.shape[1]):
        difference = a[i, k] - b[j, k]
        total += difference * difference
    return min(total, _GREATEST) * (1 - 1.2e-7 *
                                    (a.shape[1] + 2)) - 1e-45 * a.shape[1]


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
def _neighbors_reach(queries, q, rows, neighbors):
    """Square of a distance within which the query has as many neighbors.

    Queries side by side have neighbors side by side.

    Args:
        queries (np.ndarray): ``(Q, D)`` float32.
        q (int): Number of the query.
        rows (np.ndarray): ``(N, D)`` float32.
        neighbors (np.ndarray): ``(k,)`` int64 neighbors of another query.
    """
    reach = 0.0
    for i in neighbors:
        reach = max(reach, _squared_distance(queries, q, rows, i))
    # Compiled here, the sum may have another order.
    return reach * (1 + 1e-12)


@numba.njit(nogil=True, cache=CACHE)
def scan_rows(bounds, first, slack, queries, rows, owners, excluded, reach,
              distances, neighbors):
    """Update the nearest rows of queries by a block of rows.

    A row is compared with a query in up to three steps: by a bound from below
    of the squared distance, by the distance in float32, and exactly, in
    float64. Ties go to the lowest row.

    Args:
        bounds (np.ndarray): ``(Q, n)`` float32, of rows ``first`` to
            ``first + n``, less a term of the query.
        first (int): First row of the block.
        slack (np.ndarray): ``(Q,)`` float64: a row within the distance ``r``
            of the query has a bound of at most ``r^2 + slack``; infinite if
            squares of such a query leave the range of float32.
        queries, rows, owners, excluded, reach, distances, neighbors:
            :class:`RowScan`, the last three changed in place.
    """
    width, k = bounds.shape[1], distances.shape[1]
    chunks = np.empty(width // _CHUNK + 1, np.int64)
    for q in range(len(queries)):
        near, places = distances[q], neighbors[q]
        in_range = slack[q] < math.inf
        if (first == 0 and q > 0 and distances[q - 1, 0] < math.inf
                and excluded[q] == excluded[q - 1]):
            reach[q] = _neighbors_reach(queries, q, rows, neighbors[q - 1])
        limit = np.float32(reach[q] + slack[q])
        for chunk in chunks[:_find_chunks(bounds[q], limit, chunks)]:
            start = chunk * _CHUNK
            for i in range(start, min(start + _CHUNK, width)):
                row = first + i
                if bounds[q, i] > limit or owners[row] == excluded[q]:
                    continue
                if in_range and distance_bound(queries, q, rows,
                                               row) > reach[q]:
                    continue
                distance = _squared_distance(queries, q, rows, row)
                if _comes_before(distance, row, near[0], places[0]):
                    _replace_last(near, places, k, distance, row)
                    if near[0] < reach[q]:
                        reach[q] = near[0]
                        limit = np.float32(reach[q] + slack[q])


@numba.njit(fastmath=FAST_MATH)
def _project(rows, axes, coordinates):
    """Fill in coordinates ``(2, e)`` of two rows, in float64.

    Each of the axes, which take more than the nearest cache, is read once.
    """
    x, y = rows[0], rows[1]
    last = len(axes) - 1
    for i in range(0, len(axes), 4):
        # The last ones may be the same.
        j, k, m = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        a, b, c, d = axes[i], axes[j], axes[k], axes[m]
        p = q = r = s = t = u = v = w = 0.0
        for n in range(len(x)):
            p += a[n] * x[n]
            q += b[n] * x[n]
            r += c[n] * x[n]
            s += d[n] * x[n]
            t += a[n] * y[n]
            u += b[n] * y[n]
            v += c[n] * y[n]
            w += d[n] * y[n]
        for place, first, second in ((i, p, t), (j, q, u), (k, r, v), (m, s,
                                                                       w)):
            coordinates[0, place], coordinates[1, place] = first, second


@numba.njit(nogil=True, cache=CACHE)
def sketch_rows(rows, mean, axes, sketches, details, norms):
    """Fill in sketches of rows: coordinates, and the length of the rest.

    Args:
        rows (np.ndarray): ``(N, D)`` float32.
        mean (np.ndarray): ``(D,)`` float64, the origin.
        axes (np.ndarray): ``(d + e, D)`` float64, orthonormal.
        sketches (np.ndarray): ``(N, d + 1)`` float32, filled in: the
            coordinates along the first axes, and the length of the rest.
        details (np.ndarray): ``(N, e + 1)`` float32, filled in: the same of
            the rest.
        norms (np.ndarray): ``(N,)`` float64, filled in: of ``rows - mean``.
    """
    centered = np.zeros((2, len(mean)))
    coordinates = np.empty((2, len(axes)))
    for start in range(0, len(rows), 2):
        pair = range(start, min(start + 2, len(rows)))
        for i in pair:
            for k in range(len(mean)):
                centered[i - start, k] = rows[i, k] - mean[k]
        _project(centered, axes, coordinates)
        for i in pair:
            rest = 0.0
            for k in range(len(mean)):
                rest += centered[i - start, k]**2
            norms[i] = math.sqrt(rest)
            # Rounded only once, from float64.
            first = 0
            for part in (sketches[i], details[i]):
                for k in range(len(part) - 1):
                    part[k] = coordinates[i - start, first + k]
                    rest -= coordinates[i - start, first + k]**2
                part[len(part) - 1] = math.sqrt(max(rest, 0.0))
                first += len(part) - 1


@numba.njit(fastmath=FAST_MATH)
def _box_bounds(point, lows, highs, bounds):
    """Squared distances ``(L,)`` of a point from boxes, in float32."""
    bounds[:] = 0
    for k in range(len(point)):
        low, high = lows[k], highs[k]
        for i in range(len(bounds)):
            outside = max(low[i] - point[k], point[k] - high[i], np.float32(0))
            bounds[i] += outside * outside


@numba.njit(fastmath=FAST_MATH)
def _leaf_distances(point, columns, distances):
    """Squared distances ``(n,)`` of a point from a leaf, in float32.

    They are over all dimensions but the last.
    """
    distances[:] = 0
    for k in range(0, len(point) - 1, 4):
        a, b, c, d = columns[k], columns[k + 1], columns[k + 2], columns[k + 3]
        p, q, r, s = point[k], point[k + 1], point[k + 2], point[k + 3]
        for i in range(len(distances)):
            distances[i] += ((a[i] - p)**2 + (b[i] - q)**2) + ((c[i] - r)**2 +
                                                               (d[i] - s)**2)


@numba.njit
def _limit(reach, slack, rounding):
    return np.float32((math.sqrt(reach) + slack)**2 * rounding)


@numba.njit
def _compare_rows(pending, q, queries, rows, is_exact, reach, distances,
                  neighbors):
    """Update the nearest rows of a query by some rows."""
    near, places = distances[q], neighbors[q]
    for row in pending:
        if not is_exact and distance_bound(queries, q, rows, row) > reach[q]:
            continue
        distance = _squared_distance(queries, q, rows, row)
        if _comes_before(distance, row, near[0], places[0]):
            _replace_last(near, places, len(near), distance, row)
            reach[q] = min(reach[q], near[0])


@numba.njit(nogil=True, cache=CACHE)
def scan_leaves(mean, axes, longest, lows, highs, columns, members, details,
                queries, rows, owners, excluded, reach, distances, neighbors):
    """Update the nearest rows of queries by rows in leaves.

    A row is compared with a query in up to five steps: by the box around the
    sketches of its leaf, by its sketch, by the details of the sketch, by the
    distance in float32, and exactly, in float64. Ties go to the lowest row.

    It ends early where that rules out so few rows that a product over all
    dimensions takes less time.

    Args:
        mean, axes (np.ndarray): What the sketches are made with, see
            :func:`sketch_rows`.
        longest (float): Greatest norm of ``rows - mean``.
        lows (np.ndarray): ``(d, L)`` float32, least values of the sketches of
            each leaf.
        highs (np.ndarray): ``(d, L)`` float32, greatest values.
        columns (np.ndarray): ``(L, d, n)`` float32 sketches of each leaf; NaN
            where the last one has fewer rows. 4 divides ``d - 1``.
        members (np.ndarray): ``(N,)`` int64, which row is in which place of
            the leaves.
        details (np.ndarray): ``(N, e)`` float32, what can take the place of
            the last dimension of the sketches, in the order of the leaves.
        queries, rows, owners, excluded, reach, distances, neighbors:
            :class:`RowScan`, the last three changed in place.

    Returns:
        int: Number of queries that are done, the first ones.
    """
    width = columns.shape[2]
    pending = np.empty(_PENDING + width, np.int64)
    points = np.empty((len(queries), len(lows)), np.float32)
    point_details = np.empty((len(queries), details.shape[1]), np.float32)
    norms = np.empty(len(queries))
    sketch_rows(queries, mean, axes, points, point_details, norms)
    # Of the sketches, and of the squares of what is left over.
    error = 1e-7 + 5e-8 * math.sqrt(len(mean))
    rounding = 1 + 1.2e-7 * (len(lows) + details.shape[1] + 4)
    boxes = np.empty(len(columns), np.float32)
    parts = np.empty(width, np.float32)
    found = np.empty(width, np.int64)
    spent = 0
    for q in range(len(queries)):
        point, size = points[q], norms[q] + longest
        is_exact = not _RANGE[0] < size**2 < _RANGE[1]
        slack = math.inf if is_exact else error * size
        num_pending = 0
        if (q > 0 and distances[q - 1, 0] < math.inf
                and excluded[q] == excluded[q - 1]):
            reach[q] = _neighbors_reach(queries, q, rows, neighbors[q - 1])
        limit = _limit(reach[q], slack, rounding)
        _box_bounds(point, lows, highs, boxes)
        # From the nearest leaf come good neighbors, which rule out others.
        nearest = np.argmin(boxes)
        for turn in range(-1, len(boxes)):
            leaf = nearest if turn < 0 else turn
            if turn == nearest or boxes[leaf] > limit:
                continue
            _leaf_distances(point, columns[leaf], parts)
            last, rests = point[-1], columns[leaf, -1]
            number = 0
            for i in range(width):
                found[number] = i
                number += int(parts[i] + (rests[i] - last)**2 <= limit)
            spent += number
            for i in found[:number]:
                place = leaf * width + i
                if parts[i] + distance_bound(point_details, q, details,
                                             place) > limit:
                    continue
                row = members[place]
                if owners[row] == excluded[q]:
                    continue
                for k in range(0, rows.shape[1], LINE):
                    prefetch(rows[row], k)  # type: ignore[call-arg]
                pending[num_pending] = row
                num_pending += 1
                spent += _ROW_COST
            if leaf == nearest or num_pending >= _PENDING:
                _compare_rows(pending[:num_pending], q, queries, rows,
                              is_exact, reach, distances, neighbors)
                limit = _limit(reach[q], slack, rounding)
                num_pending = 0
        _compare_rows(pending[:num_pending], q, queries, rows, is_exact, reach,
                      distances, neighbors)
        if spent > _MOST_SPENT * (q + 4) * len(rows):
            return q + 1
    return len(queries)


@numba.njit(nogil=True, cache=CACHE)
def sort_heaps(distances, neighbors):
    """Sort the rows of each heap of :func:`scan_rows`, nearest first."""
    for q in range(len(distances)):
        for count in range(distances.shape[1] - 1, 0, -1):
            distance, row = distances[q, count], neighbors[q, count]
            distances[q, count] = distances[q, 0]
            neighbors[q, count] = neighbors[q, 0]
            _replace_last(distances[q], neighbors[q], count, distance, row)
