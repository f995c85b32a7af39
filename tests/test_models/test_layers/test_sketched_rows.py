import math

import pytest
import torch

from mmad.models.layers import sketch_leaves, sketched_rows
from mmad.models.layers.sketched_rows import SketchedRows


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def like_features(num, dim, seed=0):
    """Rows near a plane of a few dimensions, off the origin."""
    plane = draw(6, dim, seed=9)
    return draw(
        num, 6, seed=seed) @ plane + 0.3 * draw(
            num, dim, seed=seed + 1) + 5


def brute_force(queries, rows, k, owners=None, excluded=None):
    """Order by distances in float64; ties go to the lowest row."""
    found = []
    for i, query in enumerate(queries.double()):
        distances = (rows.double() - query).square().sum(1)
        if owners is not None:
            distances[owners == excluded[i]] = torch.inf
        found.append(distances.sort(stable=True).indices[:k])
    return torch.stack(found)


@pytest.fixture(autouse=True, params=['leaves', 'products'])
def kind(request, monkeypatch):
    """Rows that are ruled out by leaves of sketches, or by products."""
    if request.param == 'products':
        monkeypatch.setattr(sketched_rows, '_FEW_DIMS', math.inf)
    return request.param


@pytest.fixture(params=[(256, 128, 16, 1 << 20,
                         64), (1, 5, 1, 64, 1), (40, 64, 7, 1 << 10, 7)])
def blocks(request, monkeypatch):
    *others, leaf = request.param
    for name, value in zip(('_FIRST_WIDTH', '_HEIGHT', '_FEWEST', '_BLOCK'),
                           others,
                           strict=True):
        monkeypatch.setattr(sketched_rows, name, value)
    monkeypatch.setattr(sketch_leaves, '_LEAF', leaf)


@pytest.mark.parametrize('dim', [1, 2, 31, 33, 64, 65, 200, 2000])
@pytest.mark.parametrize('num', [1, 2, 33, 400])
@pytest.mark.parametrize('make', [draw, like_features])
def test_equals_brute_force(dim, num, make):
    rows, queries = make(num, dim), make(21, dim, seed=5)
    for k in {1, min(3, num), num}:
        assert torch.equal(
            SketchedRows(rows).nearest(queries, k),
            brute_force(queries, rows, k))


@pytest.mark.parametrize('make', [draw, like_features])
@pytest.mark.parametrize('k', [1, 9])
def test_any_blocks(blocks, make, k):
    rows, queries = make(300, 100), make(50, 100, seed=5)
    assert torch.equal(
        SketchedRows(rows).nearest(queries, k), brute_force(queries, rows, k))


@pytest.mark.parametrize('dim', [65, 100, 333])
def test_leaves_and_products_round_alike(kind, dim, monkeypatch):
    # Only the rounding tells these distances apart.
    row = draw(dim)
    rows = torch.stack([row.roll(i) for i in range(dim)])
    queries = torch.zeros(17, dim)
    index = SketchedRows(rows).nearest(queries, 20)
    monkeypatch.setattr(sketched_rows, '_FEW_DIMS',
                        math.inf if kind == 'leaves' else 64)
    assert torch.equal(SketchedRows(rows).nearest(queries, 20), index)


@pytest.mark.parametrize('k', [1, 4, 60])
def test_ties_go_to_the_lowest_row(blocks, k):
    rows = like_features(20, 70)[torch.arange(60) * 7 % 20]
    rows[11] = rows[12] = 0
    queries = torch.cat([rows[::4] + 0.01, rows[30:33], torch.zeros(2, 70)])
    assert torch.equal(
        SketchedRows(rows).nearest(queries, k), brute_force(queries, rows, k))


@pytest.mark.parametrize('scale', [0, 1e-42, 1e-30, 1e-10, 1e10, 1e25, 1e38])
@pytest.mark.parametrize('dim', [20, 80])
def test_any_scale(scale, dim):
    rows, queries = like_features(300, dim) / 40, like_features(
        20, dim, seed=5) / 40
    assert rows.abs().max() < 1
    for a, b in ((1, scale), (scale, 1), (scale, scale)):
        assert torch.equal(
            SketchedRows(a * rows).nearest(b * queries, 2),
            brute_force(b * queries, a * rows, 2))


def test_rows_that_differ_in_scale():
    rows = like_features(300, 80) * 10.**torch.arange(-12, 12).repeat(25)[:300,
                                                                          None]
    assert torch.equal(
        SketchedRows(rows).nearest(rows + 1e-8, 1),
        brute_force(rows + 1e-8, rows, 1))


@pytest.mark.parametrize('scale', [1e-21, 1e-22, 3e-23])
@pytest.mark.parametrize('dim', [20, 80])
def test_squares_that_float32_rounds_to_few_steps(scale, dim):
    rows, queries = torch.zeros(300, dim), torch.zeros(5, dim)
    rows[:, 1:5] = scale * draw(300, 4)
    rows[:, 0] = queries[:, 0] = 1
    assert torch.equal(
        SketchedRows(rows).nearest(queries, 3), brute_force(queries, rows, 3))


def test_values_that_are_not_finite_find_some_row():
    rows = like_features(300, 80)
    queries = rows[:5].clone()
    queries[1, 3], queries[2, 4] = torch.nan, torch.inf
    index = SketchedRows(rows).nearest(queries, 3)
    assert index[[0, 3, 4], 0].tolist() == [0, 3, 4]
    assert ((index >= 0) & (index < 300)).all()


def test_distances_far_below_the_norms():
    # The rounding of products is larger than the differences here.
    rows = 1e-3 * like_features(400, 90) + 100
    queries = 1e-3 * like_features(40, 90, seed=5) + 100
    assert torch.equal(
        SketchedRows(rows).nearest(queries, 3), brute_force(queries, rows, 3))


@pytest.mark.parametrize('precision', ['high', 'medium'])
def test_reduced_precision_of_products(precision):
    rows, queries = like_features(600, 128), like_features(64, 128, seed=5)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        index = SketchedRows(rows).nearest(queries, 1)
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(index, brute_force(queries, rows, 1))


def test_automatic_mixed_precision():
    rows, queries = like_features(600, 128), like_features(64, 128, seed=5)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        index = SketchedRows(rows).nearest(queries, 1)
    assert torch.equal(index, brute_force(queries, rows, 1))


@pytest.mark.parametrize('dim', [10, 100])
@pytest.mark.parametrize('k', [1, 5])
def test_owners_left_out(blocks, dim, k):
    rows = like_features(200, dim)
    owners = torch.arange(200) * 3 % 7
    # Each query is a row of what it leaves out, or leaves out nothing.
    excluded = owners[:60].clone()
    excluded[::4] = 7
    queries = rows[:60]
    index = SketchedRows(rows).nearest(queries, k, owners, excluded)
    assert torch.equal(index, brute_force(queries, rows, k, owners, excluded))
    assert (owners[index] != excluded[:, None]).all()


@pytest.mark.parametrize('threads', [1, 3])
def test_independent_of_other_queries_and_threads(threads):
    rows, queries = like_features(500, 100), like_features(150, 100, seed=5)
    expected = SketchedRows(rows).nearest(queries, 2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        sketched = SketchedRows(rows)
        order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
        assert torch.equal(
            sketched.nearest(queries[order], 2), expected[order])
        for part in (slice(0, 1), slice(7, 30), slice(30, 150)):
            assert torch.equal(
                sketched.nearest(queries[part], 2), expected[part])
    finally:
        torch.set_num_threads(before)
    assert sketched.nearest(queries[:0], 2).shape == (0, 2)


def test_strided_queries_and_rows():
    rows, queries = like_features(300, 100), like_features(40, 100, seed=5)
    assert torch.equal(
        SketchedRows(rows.T.contiguous().T).nearest(
            queries.T.contiguous().T.requires_grad_(), 2),
        brute_force(queries, rows, 2))


def test_products_take_over_where_sketches_are_of_no_use(kind, monkeypatch):
    # One task.
    monkeypatch.setattr(sketched_rows, '_FEWEST', 64)
    products = []
    addmm = torch.addmm

    def noted(norms, points, columns, **kwargs):
        products.append((len(points), columns.shape[1]))
        return addmm(norms, points, columns, **kwargs)

    monkeypatch.setattr(sketched_rows.torch, 'addmm', noted)
    queries = draw(64, 500, seed=1)
    queries[:20] = like_features(20, 500, seed=5)
    rows = torch.cat([like_features(1000, 500), draw(1000, 500)])
    for expected, part in ((0, slice(20)), (44, slice(20, 64))):
        products.clear()
        index = SketchedRows(rows).nearest(queries[part], 1)
        assert torch.equal(index, brute_force(queries[part], rows, 1))
        num = part.stop - (part.start or 0)
        if kind == 'products':
            assert products == [(num, 256), (num, 1744)]
        elif expected:
            # After a few queries that show it.
            assert num - 8 < products[0][0] < num
        else:
            assert not products
