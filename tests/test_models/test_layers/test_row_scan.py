import pytest
import torch

from mmad.models.layers.row_scan import distance_bound


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('dim', [1, 7, 384])
@pytest.mark.parametrize('scale', [1, 1e-21, 3e-23])
def test_bounds_are_from_below(dim, scale):
    a, b = scale * draw(100, dim), scale * (draw(100, dim, seed=1) + 3)
    exact = (a.double() - b.double()).square().sum(1)
    bounds = torch.tensor(
        [distance_bound(a.numpy(), i, b.numpy(), i) for i in range(100)],
        dtype=torch.float64)
    assert (bounds <= exact).all()
    torch.testing.assert_close(bounds, exact, rtol=1e-4, atol=2e-45 * dim)
