import numpy as np
import pytest
import torch

from mmad.models.layers.sketch_leaves import _LEAF, _principal_axes, _split


@pytest.mark.parametrize('number', [1, 63, 64, 65, 128, 500, 1000])
def test_leaves_have_each_row_once(number):
    points = np.random.default_rng(number).normal(size=(number, 5))
    leaves = _split(points, np.arange(number))
    assert np.sort(np.concatenate(leaves)).tolist() == list(range(number))
    assert all(len(leaf) == _LEAF for leaf in leaves[:-1])
    assert 1 <= len(leaves[-1]) <= _LEAF


def test_rows_of_a_leaf_are_similar():
    points = np.random.default_rng(0).normal(size=(64 * 16, 2))
    leaves = _split(points, np.arange(len(points)))
    spread = np.mean([points[leaf].std(0) for leaf in leaves])
    assert spread < 0.5 * points.std()


@pytest.mark.parametrize('num', [1, 5, 12])
def test_axes_are_orthogonal_and_by_variance(num):
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([9, 5, 3] + 9 * [0.3])
    rows = torch.randn(400, 12, generator=generator) * scales + 4
    mean, axes = _principal_axes(rows, num)
    torch.testing.assert_close(mean, rows.double().mean(0))
    torch.testing.assert_close(axes @ axes.T,
                               torch.eye(num, dtype=torch.float64))
    spread = ((rows.double() - mean) @ axes.T).var(0)
    assert (spread.diff() <= 0).all()
    values = torch.linalg.eigvalsh(rows.double().T.cov()).flip(0)[:num]
    torch.testing.assert_close(spread[:3], values[:3], rtol=1e-3, atol=0)
