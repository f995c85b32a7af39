import numpy as np
import pytest
import torch
from scipy.ndimage import generate_binary_structure, grey_opening

from mmad.models.layers import gray_opening


@pytest.mark.parametrize('size', [(16, 16), (7, 20), (3, 3), (1, 5), (1, 1)])
def test_against_scipy(size):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 1, *size, generator=generator)
    cross = generate_binary_structure(2, 1)
    expected = np.stack([
        grey_opening(one.numpy(), footprint=cross)[None] for one in maps[:, 0]
    ])
    assert np.array_equal(gray_opening(maps).numpy(), expected)


def test_never_raises_and_is_idempotent():
    maps = torch.rand(4, 1, 12, 15)
    opened = gray_opening(maps)
    assert (opened <= maps).all()
    assert (opened < maps).any()
    assert torch.equal(gray_opening(opened), opened)


def test_what_the_cross_fits_into_stays():
    maps = torch.zeros(1, 1, 9, 9)
    maps[0, 0, 4, 3:6] = maps[0, 0, 3:6, 4] = 1
    assert torch.equal(gray_opening(maps), maps)
    maps[0, 0, 4, 3] = 0
    assert not gray_opening(maps).any()


def test_commutes_with_thresholds():
    # So one opening of the map stands for one at each threshold.
    maps = torch.rand(2, 1, 10, 10)
    for threshold in (0.2, 0.5, 0.8):
        assert torch.equal(
            gray_opening((maps >= threshold).float()) > 0,
            gray_opening(maps) >= threshold)
