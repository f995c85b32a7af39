import pytest
import torch
import torch.nn.functional as F

from mmad.models import DirectionLoss


def test_zero_for_equal_activations(images):
    loss = DirectionLoss()([images, images], [images, images])
    assert loss.abs().max() < 1e-6


@pytest.mark.parametrize('factor', [1e-2, 3.0, 100.0])
def test_positive_scaling_changes_nothing(images, factor):
    source = images.roll(1, 0)
    torch.testing.assert_close(
        DirectionLoss()([source], [factor * images]),
        DirectionLoss()([source], [images]))


def test_opposite(images):
    torch.testing.assert_close(
        DirectionLoss()([images], [-images]), torch.full((7, ), 2.0))


def test_cosine_is_over_the_whole_map(images):
    other = images.roll(1, 0)
    whole = 1 - torch.stack([
        torch.dot(a.flatten(), b.flatten()) / a.norm() / b.norm()
        for a, b in zip(images, other)
    ])
    loss = DirectionLoss()([images], [other])
    torch.testing.assert_close(loss, whole)
    # One factor per position: each keeps its direction, the map does not.
    scaled = images * torch.linspace(0.1, 5, 40)
    assert (1 - F.cosine_similarity(images, scaled, dim=1)).max() < 1e-6
    assert (DirectionLoss()([images], [scaled]) > 0.05).all()


def test_sum_over_points(images):
    other = images.roll(1, 0)
    torch.testing.assert_close(
        DirectionLoss()([images, images], [other, -images]),
        DirectionLoss()([images], [other]) + 2)


def test_a_map_of_zeros_has_a_gradient():
    clone = torch.zeros(1, 2, 3, 3, requires_grad=True)
    loss = DirectionLoss()([torch.ones(1, 2, 3, 3)], [clone])
    loss.sum().backward()
    assert loss.tolist() == [1.0]
    assert torch.isfinite(clone.grad).all()
