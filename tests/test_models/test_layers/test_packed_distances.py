import pytest
import torch

from mmad.models.layers.packed_distances import packed_distances
from mmad.models.layers.packed_triangle import pack, unpack


@pytest.fixture
def threads():
    number = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(number)


def gaussians(dim, positions=5, number=6):
    generator = torch.Generator().manual_seed(dim)
    return (pack(torch.randn(positions, dim, dim, generator=generator)),
            torch.randn(positions, dim, generator=generator),
            torch.randn(number, positions, dim, generator=generator))


@pytest.mark.parametrize('dim', [1, 2, 3, 4, 7, 10, 49, 100, 550])
def test_distances_are_those_in_double_precision(dim):
    factor, mean, samples = gaussians(dim)
    lower = unpack(factor.double(), dim)
    offsets = samples.double() - mean.double()
    expected = torch.einsum('pij,bpj->bpi', lower, offsets).norm(dim=2)
    torch.testing.assert_close(
        packed_distances(factor, mean, samples).double(),
        expected,
        rtol=1e-5,
        atol=1e-5)


@pytest.mark.parametrize('dim', [1, 2, 7, 50, 100])
@pytest.mark.parametrize('number', [1, 2, 3, 5])
def test_company_changes_no_bit(dim, number):
    factor, mean, samples = gaussians(dim)
    together = packed_distances(factor, mean, samples)
    for start in range(len(samples) - number + 1):
        part = slice(start, start + number)
        assert torch.equal(
            packed_distances(factor, mean, samples[part]), together[part])


@pytest.mark.parametrize('positions', [1, 5, 700])
def test_threads_change_no_bit(threads, positions):
    arguments = gaussians(30, positions)
    threads(1)
    alone = packed_distances(*arguments)
    for number in (2, 3, 7):
        threads(number)
        assert torch.equal(packed_distances(*arguments), alone)


def test_any_strides():
    factor, mean, samples = gaussians(9)
    expected = packed_distances(factor, mean, samples)
    found = packed_distances(
        factor.mT.contiguous().mT,
        mean.T.contiguous().T,
        samples.permute(2, 0, 1).contiguous().permute(1, 2, 0))
    assert torch.equal(found, expected)


def test_what_is_not_finite_stays_so():
    factor, mean, samples = gaussians(20)
    samples[1, 2, 3] = torch.nan
    samples[3, 4, 0] = torch.inf
    found = packed_distances(factor, mean, samples)
    assert not found[1, 2].isfinite()
    assert not found[3, 4].isfinite()
    assert int(found.isfinite().sum()) == found.numel() - 2


def test_no_samples():
    factor, mean, samples = gaussians(4)
    assert packed_distances(factor, mean, samples[:0]).shape == (0, 5)
