import numpy as np
import pytest
import torch

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


def test_constant_dimension():
    descriptors = torch.randn(8, 3)
    descriptors[:, 1] = 4
    descriptors.requires_grad_()
    CompactnessLoss()(descriptors).backward()
    assert torch.isfinite(descriptors.grad).all()
