import pytest
import torch
import torch.nn.functional as F

from mmad.models.losses import direction_loss, value_loss


def test_values_mean_per_point_and_sum_over_points():
    source = [torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 2, 2)]
    clone = [torch.full((2, 3, 4, 4), 2.0), torch.full((2, 5, 2, 2), -3.0)]
    clone[0][1] = 0
    assert value_loss(source, clone).tolist() == [13.0, 9.0]


def test_zero_for_equal_activations(images):
    assert value_loss([images], [images.clone()]).tolist() == [0.0] * 7
    loss = direction_loss([images, images], [images, images])
    assert loss.abs().max() < 1e-6


@pytest.mark.parametrize('factor', [1e-2, 3.0, 100.0])
def test_scaling_changes_the_values_only(images, factor):
    source = images.roll(1, 0)
    torch.testing.assert_close(
        direction_loss([source], [factor * images]),
        direction_loss([source], [images]))
    assert (value_loss([images], [factor * images]) > 0.5).all()


def test_half_precision(images):
    loss = value_loss([images.half()], [-images.half()])
    assert loss.dtype == torch.float32
    torch.testing.assert_close(
        loss, value_loss([images], [-images]), rtol=1e-3, atol=0)


def test_opposite_directions(images):
    torch.testing.assert_close(
        direction_loss([images], [-images]), torch.full((7, ), 2.0))


def test_cosine_is_over_all_positions_together(images):
    other = images.roll(1, 0)
    expected = 1 - torch.stack([
        torch.dot(a.flatten(), b.flatten()) / a.norm() / b.norm()
        for a, b in zip(images, other)
    ])
    loss = direction_loss([images], [other])
    torch.testing.assert_close(loss, expected)
    # With one factor per position each keeps its direction, the map does not.
    scaled = images * torch.linspace(0.1, 5, 40)
    assert (1 - F.cosine_similarity(images, scaled, dim=1)).max() < 1e-6
    assert (direction_loss([images], [scaled]) > 0.05).all()


def test_directions_sum_over_points(images):
    other = images.roll(1, 0)
    torch.testing.assert_close(
        direction_loss([images, images], [other, -images]),
        direction_loss([images], [other]) + 2)


def test_a_map_of_zeros_has_a_gradient():
    clone = torch.zeros(1, 2, 3, 3, requires_grad=True)
    loss = direction_loss([torch.ones(1, 2, 3, 3)], [clone])
    loss.sum().backward()
    assert loss.tolist() == [1.0]
    assert torch.isfinite(clone.grad).all()
