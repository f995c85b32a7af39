import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from mmad.errors import InputError
from mmad.models.layers import StageGaussians


@pytest.fixture
def levels():
    """Two stages of nine images, on grids of their own."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(9, channels, height, 3, generator=generator)
        for channels, height in ((4, 5), (2, 1))
    ]


def fitted(levels, parts=9):
    gaussians = StageGaussians(len(levels), epsilon=0.1)
    gaussians.reset()
    start = 0
    for batch in zip(*(level.split(parts) for level in levels), strict=True):
        ids = list(range(start, start + len(batch[0])))
        gaussians.update(batch, ids)
        start += len(ids)
    gaussians.finalize()
    return gaussians


def test_each_stage_is_by_itself(levels):
    gaussians = fitted(levels, parts=(4, 5))
    assert gaussians.is_fitted
    assert gaussians.num_fitted == 9
    distances = gaussians([level[:2] for level in levels])
    for level, found in zip(levels, distances, strict=True):
        values = level.double().numpy()
        assert found.shape == (2, 1, *level.shape[2:])
        for (image, _, row, column), distance in np.ndenumerate(found):
            samples = values[:, :, row, column]
            covariance = np.cov(
                samples, rowvar=False) + 0.1 * np.eye(samples.shape[1])
            expected = mahalanobis(samples[image], samples.mean(0),
                                   np.linalg.inv(covariance))
            assert distance == pytest.approx(expected, rel=1e-4)


def test_no_batch_changes_a_bit(levels):
    for name, value in fitted(levels).state_dict().items():
        assert torch.equal(
            fitted(levels, parts=(2, 7)).state_dict()[name], value), name


def test_a_part_of_a_fit_is_none(levels):
    gaussians = fitted(levels)
    gaussians.stages[1].reset()
    assert not gaussians.is_fitted
    gaussians = fitted(levels)
    gaussians.reset()
    assert not gaussians.is_fitted


def test_forgotten_images_were_never_there(levels):
    gaussians = fitted(levels)
    gaussians.reopen()
    gaussians.forget([3, 8], [level[[3, 8]] for level in levels])
    gaussians.finalize()
    assert gaussians.num_fitted == 7
    kept = [i for i in range(9) if i not in (3, 8)]
    expected = fitted([level[kept] for level in levels], parts=7)
    for one, other in zip(gaussians(levels), expected(levels)):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_another_number_of_stages(levels):
    with pytest.raises(ValueError, match='shorter'):
        fitted(levels)(levels[:1])
    with pytest.raises(InputError, match='`num_stages`'):
        StageGaussians(0)
