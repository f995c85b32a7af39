import numpy as np
import pytest
import torch

from mmad.errors import InputError
from mmad.models import CompactnessLoss


@pytest.mark.parametrize('signed', [False, True])
def test_correlations_of_numpy(signed):
    descriptors = np.random.default_rng(0).normal(3, 2, (20, 6))
    descriptors[:, 1] -= 2 * descriptors[:, 0]
    correlations = np.corrcoef(descriptors.T)
    np.fill_diagonal(correlations, 0)
    expected = (correlations if signed else correlations**2).sum()
    found = CompactnessLoss(signed)(torch.from_numpy(descriptors))
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('shape', [(2, 9), (20, 6), (6, 20)])
def test_samples_of_numpy_by_pairs(shape):
    descriptors = np.random.default_rng(1).normal(-1, 3, shape)
    descriptors[1] += descriptors[0]
    pairs = np.corrcoef(descriptors)[np.triu_indices(shape[0], 1)]
    found = CompactnessLoss(over='samples')(torch.from_numpy(descriptors))
    assert float(found) == pytest.approx(2 * (pairs**2).sum(), rel=1e-5)
    signed = CompactnessLoss(True, 'samples')(torch.from_numpy(descriptors))
    assert float(signed) == pytest.approx(2 * pairs.sum(), rel=1e-5)


@pytest.mark.parametrize('signed', [False, True])
def test_zero_without_correlation(signed):
    # Columns of a Hadamard matrix, shifted and scaled.
    signs = torch.tensor([[1., 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    loss = CompactnessLoss(signed)(5 + signs * torch.tensor([1., 20, 0.1]))
    assert float(loss.abs()) < 1e-6


def test_largest_for_copies():
    one = torch.randn(8, 1)
    copies = torch.cat([one, 2 * one, -one], 1)
    assert float(CompactnessLoss()(copies)) == pytest.approx(6)
    # Two pairs of opposites, one of equals, each counted twice.
    assert float(CompactnessLoss(signed=True)(copies)) == pytest.approx(-2)


@pytest.mark.parametrize('over', ['dimensions', 'samples'])
def test_constant_dimension_or_sample(over):
    descriptors = torch.randn(8, 3)
    descriptors[:, 1] = 4
    descriptors[2] = 4
    descriptors.requires_grad_()
    CompactnessLoss(over=over)(descriptors).backward()
    assert torch.isfinite(descriptors.grad).all()


def test_unknown_variables_are_refused():
    with pytest.raises(InputError, match='`over` must be "dimensions" or '):
        CompactnessLoss(over='patches')
