import torch

from mmad.models import ValueLoss


def test_mean_per_point_and_sum_over_points():
    source = [torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 2, 2)]
    clone = [torch.full((2, 3, 4, 4), 2.0), torch.full((2, 5, 2, 2), -3.0)]
    clone[0][1] = 0
    assert ValueLoss()(source, clone).tolist() == [13.0, 9.0]


def test_zero_for_equal_activations(images):
    assert ValueLoss()([images], [images.clone()]).tolist() == [0.0] * 7


def test_scaling_matters(images):
    assert (ValueLoss()([images], [2 * images]) > 0.5).all()


def test_half_precision(images):
    loss = ValueLoss()([images.half()], [-images.half()])
    assert loss.dtype == torch.float32
    torch.testing.assert_close(
        loss, ValueLoss()([images], [-images]), rtol=1e-3, atol=0)
