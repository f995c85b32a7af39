import pytest
import torch

from mmad.models.layers import inverse_cholesky
from mmad.models.layers.inverse_cholesky import invert_cholesky, shifted_norms


def matrices(dim, number=5):
    generator = torch.Generator().manual_seed(dim)
    samples = torch.randn(
        number, dim, dim // 2 + 1, generator=generator, dtype=torch.float64)
    return samples @ samples.mT + 0.01 * torch.eye(dim, dtype=torch.float64)


@pytest.mark.parametrize('small', [1, 2, 32])
@pytest.mark.parametrize('dim', [1, 2, 3, 8, 31, 32, 33, 70])
def test_inverse_of_the_factor(monkeypatch, small, dim):
    monkeypatch.setattr(inverse_cholesky, '_SMALL', small)
    given = matrices(dim)
    expected = torch.linalg.inv(torch.linalg.cholesky(given[0]))
    found = invert_cholesky(given)[0]
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert torch.equal(found, found.tril())


@pytest.mark.parametrize('dim', [5, 70])
def test_only_the_lower_triangle_is_read(dim):
    given = matrices(dim)
    assert torch.equal(
        invert_cholesky(given.tril() + torch.full_like(given, 7).triu(1)),
        invert_cholesky(given))


@pytest.mark.parametrize('place', [0, 69])
def test_not_positive_definite(place):
    given = matrices(70)
    given[3, place, place] = -1
    with pytest.raises(torch.linalg.LinAlgError):
        invert_cholesky(given)


@pytest.mark.parametrize('share', [0.5, 0.1, 1e-3])
def test_norms_by_a_shifted_matrix(share):
    given = matrices(8)
    vectors = torch.arange(5 * 3 * 8.).double().sin().view(5, 3, 8)
    shift = share * 0.01
    found = shifted_norms(invert_cholesky(given), vectors, shift, 0.01)
    shifted = given - shift * torch.eye(8, dtype=torch.float64)
    expected = (vectors @ torch.linalg.inv(shifted) * vectors).sum(2)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0)
