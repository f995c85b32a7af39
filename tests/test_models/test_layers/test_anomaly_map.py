import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from mmad.models.layers.anomaly_map import AnomalyMap, upsample_and_smooth


def draw(*shape):
    return torch.rand(
        *shape,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('sigma', [0, 1.3, 4.0])
@pytest.mark.parametrize(
    ('grid', 'size'),
    [
        ((28, 28), (224, 224)),
        ((5, 9), (33, 70)),
        # Smaller than the radius of the Gaussian.
        ((3, 2), (7, 6)),
        ((6, 7), (6, 7)),
    ])
def test_equals_interpolate_and_scipy(sigma, grid, size):
    scores = draw(2, 1, *grid)
    maps = AnomalyMap(sigma)(scores, size)
    expected = F.interpolate(scores, size, mode='bilinear').numpy()
    if sigma:
        expected = gaussian_filter(expected, (0, 0, sigma, sigma))
    assert maps.shape == (2, 1, *size)
    np.testing.assert_allclose(maps.numpy(), expected, atol=1e-9)
    # As in use, in float32.
    single = AnomalyMap(sigma)(scores.float(), size)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, atol=1e-6)


def test_constant_stays_constant():
    maps = AnomalyMap(4.0)(torch.full((1, 1, 7, 5), 3.0), (56, 40))
    torch.testing.assert_close(maps, torch.full((1, 1, 56, 40), 3.0))


def test_never_beyond_the_scores():
    scores = draw(3, 1, 6, 6)
    maps = AnomalyMap(2.0)(scores, (48, 48))
    assert maps.min() >= scores.min()
    assert maps.max() <= scores.max()


def test_maps_do_not_depend_on_the_batch():
    scores = draw(4, 1, 14, 14).float()
    together = AnomalyMap()(scores, (112, 112))
    for i in range(4):
        assert torch.equal(AnomalyMap()(scores[i:i + 1], (112, 112))[0],
                           together[i])


def test_rows_of_the_matrix_sum_to_one():
    sums = upsample_and_smooth(9, 40, 3.0).sum(1)
    np.testing.assert_allclose(sums, np.ones(40), rtol=1e-12)
