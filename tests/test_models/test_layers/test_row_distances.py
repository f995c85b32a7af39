import pytest
import torch

from mmad.models.layers import row_distances
from mmad.models.layers.row_distances import RowDistances, exact_distances

CPU = torch.device('cpu')


def rows_of(kind, number=200, dim=24):
    generator = torch.Generator().manual_seed(number)
    rows = torch.randn(number, dim, generator=generator)
    if kind == 'duplicated':
        rows = rows[torch.randint(
            number // 5, (number, ), generator=generator)]
    elif kind == 'offset':
        rows = rows + 1e4
    elif kind == 'equal':
        rows = torch.full((number, dim), 0.1)
    return rows


def nearest_of(rows, centers):
    return exact_distances(rows, centers).amin(1)


@pytest.fixture(params=[64, 1 << 24])
def block(request, monkeypatch):
    """The size of a block, which does not change what is computed."""
    monkeypatch.setattr(row_distances, '_BLOCK', request.param)


@pytest.mark.parametrize('precision', ['highest', 'medium'])
@pytest.mark.parametrize('kind', ['random', 'duplicated', 'offset', 'equal'])
def test_nearest_is_exact(kind, precision, block):
    rows = rows_of(kind)
    found = RowDistances(rows, torch.arange(200), CPU)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        for part in (slice(0, 1), slice(1, 4), slice(4, 60)):
            found.add(rows[part] + 0.25, torch.arange(0))
            expected = nearest_of(rows, rows[:part.stop] + 0.25)
            assert torch.equal(found.nearest, expected)
    finally:
        torch.set_float32_matmul_precision(before)


def test_nearest_of_centers_that_are_almost_as_near():
    # The product alone takes another than the nearest for some rows.
    rows = 1e-5 * rows_of('random')
    centers = torch.nn.functional.normalize(rows_of('random', 300))
    found = RowDistances(rows, torch.arange(200), CPU)
    found.add(centers, torch.arange(0))
    assert torch.equal(found.nearest, nearest_of(rows, centers))
    by_product = (rows @ centers.T).argmax(1)
    exact = exact_distances(rows, centers)
    assert (exact.gather(1, by_product[:, None])[:, 0] > found.nearest).any()


@pytest.mark.parametrize('parts', [1, 3, 50])
def test_a_distance_does_not_depend_on_the_number_of_rows(parts):
    rows = rows_of('random', 200, 131)
    whole = exact_distances(rows, rows[:50])
    assert torch.equal(
        whole,
        torch.cat(
            [exact_distances(own, rows[:50]) for own in rows.chunk(parts)]))
    assert torch.equal(
        whole,
        torch.cat(
            [exact_distances(rows, own) for own in rows[:50].chunk(parts)], 1))
    pairs = exact_distances(rows[:50, None], rows[:50, None])
    assert torch.equal(whole[:50].diagonal(), pairs.flatten())


def test_taken_rows_stay_taken():
    rows = rows_of('random', 20)
    found = RowDistances(rows, torch.arange(20) * 2, CPU)
    # Row 3 has the id 6; 7 and 100 are rows of other processes.
    found.add(rows[:3], torch.tensor([6, 7, 100]))
    assert torch.nonzero(found.nearest == -1).tolist() == [[3]]
    found.add(rows[3:4], torch.tensor([6]))
    assert torch.nonzero(found.nearest == -1).tolist() == [[3]]


def test_farthest():
    found = RowDistances(torch.arange(5.)[:, None], torch.arange(5) + 10, CPU)
    found.add(torch.tensor([[2.]]), torch.tensor([12]))
    rows, keys = found.farthest(3)
    assert rows.tolist() == [[0], [4], [1]]
    assert keys.tolist() == [[2, 10], [2, 14], [1, 11], [1, 13]]
    rows, keys = found.farthest(6)
    assert rows.tolist() == [[0], [4], [1], [3], [2], [0]]
    assert keys[4].tolist() == [-1, 12]
    assert keys[5:, 0].tolist() == [-torch.inf] * 2


def test_no_rows():
    found = RowDistances(torch.empty(0, 3), torch.arange(0), CPU)
    found.add(torch.ones(2, 3), torch.tensor([5, 6]))
    rows, keys = found.farthest(2)
    assert rows.tolist() == [[0] * 3] * 2
    assert keys[:, 0].tolist() == [-torch.inf] * 3
