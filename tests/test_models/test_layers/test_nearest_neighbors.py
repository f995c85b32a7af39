import pytest
import torch

from mmad.models.layers import nearest_neighbors
from mmad.models.layers.nearest_neighbors import (
    are_products_exact,
    distances_to,
    nearest_rows,
    squared_norms,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Of the least width 1024 the rows fill one block, or several with a rest.
@pytest.mark.parametrize('num_rows', [1, 5, 1024, 2500])
@pytest.mark.parametrize('block', [1, 1 << 22])
@pytest.mark.parametrize('k', [1, 4])
def test_equals_brute_force(monkeypatch, num_rows, block, k):
    monkeypatch.setattr(nearest_neighbors, '_BLOCK', block)
    queries, rows = draw(17, 6), draw(num_rows, 6, seed=1)
    k = min(k, num_rows)
    index = nearest_rows(queries, rows, squared_norms(rows), k)
    expected = torch.cdist(queries.double(), rows.double()).topk(
        k, largest=False)
    assert torch.equal(index, expected.indices)
    torch.testing.assert_close(
        distances_to(queries, rows, index).double(),
        expected.values,
        rtol=1e-6,
        atol=0)


def test_k_of_all_rows():
    queries, rows = draw(4, 3), draw(2100, 3, seed=1)
    index = nearest_rows(queries, rows, squared_norms(rows), 2100)
    assert torch.equal(index.sort().values, torch.arange(2100).expand(4, -1))


def test_squared_norms_by_blocks(monkeypatch):
    rows = draw(37, 5)
    monkeypatch.setattr(nearest_neighbors, '_BLOCK', 20)
    torch.testing.assert_close(squared_norms(rows), rows.square().sum(1))


def test_distances_do_not_cancel():
    rows = draw(50, 8) + 1e4
    queries = rows + 0.01
    index = torch.arange(50)[:, None]
    expected = (queries.double() - rows.double()).norm(dim=1, keepdim=True)
    torch.testing.assert_close(
        distances_to(queries, rows, index).double(),
        expected,
        rtol=1e-6,
        atol=0)
    assert distances_to(rows, rows, index).eq(0).all()


@pytest.mark.parametrize('precision', ['highest', 'high', 'medium'])
def test_precision_of_products(precision):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        assert are_products_exact() == (precision == 'highest')
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, 'fp32_precision'),
    reason='PyTorch before 2.9 has one precision for all back ends')
def test_precision_of_one_back_end():
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = 'tf32'
    try:
        assert not are_products_exact()
    finally:
        products.fp32_precision = before
    assert are_products_exact()
