import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from mmad.models.layers.row_scan import (
    RowScan,
    distance_bound,
    float32_slack,
    scan_rows,
    sketch_rows,
    sort_heaps,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def squares(a, b):
    return cdist(a.double(), b.double(), 'sqeuclidean')


@pytest.mark.parametrize('dim', [1, 7, 384])
@pytest.mark.parametrize('scale', [1, 1e-21, 3e-23, 1e20, 1e37])
def test_bounds_are_from_below(dim, scale):
    a, b = scale * draw(100, dim), scale * (draw(100, dim, seed=1) + 3)
    exact = torch.from_numpy(squares(a, b)).diagonal()
    bounds = torch.tensor(
        [distance_bound(a.numpy(), i, b.numpy(), i) for i in range(100)],
        dtype=torch.float64)
    assert (bounds <= exact).all()
    # Also those whose squares float32 cannot hold.
    torch.testing.assert_close(
        bounds,
        exact.clamp(max=torch.finfo(torch.float32).max),
        rtol=1e-4,
        atol=2e-45 * dim)


def scan(queries, rows, k, width, slack=None, owners=None, excluded=None):
    """Scan blocks of so many rows, with bounds from products."""
    norms = queries.double().square().sum(1)
    if slack is None:
        slack = (1e-4 * (norms + rows.double().square().sum(1).max()) -
                 norms).numpy()
    if owners is None:
        owners = torch.zeros(len(rows), dtype=torch.int64)
        excluded = torch.full((len(queries), ), -1)
    state = RowScan.start(queries, rows, k, owners, excluded)
    for first in range(0, len(rows), width):
        block = rows[first:first + width]
        bounds = block.square().sum(1) - 2 * queries @ block.T
        scan_rows(bounds.numpy(), first, slack, *state)
    assert (state.reach >= state.distances[:, 0]).all()
    sort_heaps(state.distances, state.neighbors)
    return state


def check(state, expected, k):
    order = np.argsort(expected, kind='stable')[:, :k]
    assert np.array_equal(state.neighbors, order)
    np.testing.assert_allclose(
        state.distances, np.take_along_axis(expected, order, 1), rtol=1e-12)


@pytest.mark.parametrize('width', [1, 31, 64, 300])
@pytest.mark.parametrize('k', [1, 2, 7, 300])
def test_nearest_rows(k, width):
    rows, queries = draw(300, 9), draw(40, 9, seed=1)
    check(scan(queries, rows, k, width), squares(queries, rows), k)


@pytest.mark.parametrize('width', [1, 31, 300])
@pytest.mark.parametrize('k', [1, 7, 300])
def test_ties_and_owners(k, width):
    # Whole numbers, so that all distances are exact, and the bounds, too.
    rows, queries = draw(300, 3).round(), draw(40, 3, seed=1).round()
    slack = -queries.double().square().sum(1).numpy()
    owners = torch.arange(300) % 3
    excluded = torch.arange(40) // 10
    k = min(k, 200)
    expected = squares(queries, rows)
    expected[owners == excluded[:, None]] = np.inf
    check(scan(queries, rows, k, width, slack, owners, excluded), expected, k)


def test_infinite_slack_compares_all_rows():
    # Their squares are infinite in float32, and so are the bounds.
    rows, queries = 1e30 * draw(50, 9), 1e30 * draw(8, 9, seed=1)
    slack = np.full(8, np.inf)
    check(scan(queries, rows, 3, 20, slack), squares(queries, rows), 3)


def test_slack():
    slack = torch.arange(5.).double()
    size = torch.tensor([1e-13, 1e-12, 1, 1e17, 1e18]).double()
    assert float32_slack(slack, size).tolist() == [np.inf, 1, 2, 3, np.inf]


def test_after_some_queries():
    rows, queries = draw(20, 4), draw(6, 4, seed=1)
    numbers = torch.zeros(20, dtype=torch.int64), torch.arange(1, 7)
    state = RowScan.start(queries, rows, 3, *numbers)
    rest = state.after(4)
    assert np.array_equal(rest.queries, queries[4:])
    assert rest.excluded.tolist() == [5, 6]
    rest.distances[:] = rest.reach[:, None] = 7
    rest.neighbors[:] = 8
    assert (state.distances[4:] == 7).all()
    assert (state.reach[4:] == 7).all()
    assert (state.neighbors[4:] == 8).all()
    assert np.isinf(state.distances[:4]).all()


@pytest.mark.parametrize(('num_axes', 'num_coarse'), [(1, 1), (7, 4), (20, 4),
                                                      (20, 20)])
def test_sketches(num_axes, num_coarse):
    rows = draw(60, 20) * torch.arange(1, 21) + 5
    mean = rows.double().mean(0).numpy()
    axes = np.linalg.qr(draw(20, 20).double().numpy())[0][:num_axes]
    sketches = np.empty((60, num_coarse + 1), np.float32)
    details = np.empty((60, num_axes - num_coarse + 1), np.float32)
    norms = np.empty(60)
    sketch_rows(rows.numpy(), mean, axes, sketches, details, norms)
    centered = rows.numpy() - mean
    coordinates = centered @ axes.T
    np.testing.assert_allclose(norms, np.linalg.norm(centered, axis=1))
    np.testing.assert_allclose(
        np.concatenate([sketches[:, :-1], details[:, :-1]], 1),
        coordinates,
        rtol=1e-4,
        atol=1e-4)
    # With the length of what they leave over, they are as long as the row.
    for part in (sketches, np.hstack([sketches[:, :-1], details])):
        np.testing.assert_allclose(
            np.linalg.norm(part, axis=1), norms, rtol=1e-5)
        distances = cdist(part, part)
        assert (distances <= cdist(rows, rows) * (1 + 1e-6) + 1e-4).all()
