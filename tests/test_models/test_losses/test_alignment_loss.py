import pytest
import torch

from mmad.models import AlignmentLoss


@pytest.fixture
def tensors():
    torch.manual_seed(0)
    return [torch.randn(3, 4, 2, 5, requires_grad=True) for _ in range(4)]


def test_mean_of_both_directions(tensors):
    from_one, from_other, one, other = tensors
    cosines = [
        torch.nn.functional.normalize(a, dim=1).mul(
            torch.nn.functional.normalize(b, dim=1)).sum(1)
        for a, b in ((from_one, other), (from_other, one))
    ]
    torch.testing.assert_close(
        AlignmentLoss()((from_one, from_other), (one, other)),
        -torch.stack(cosines).mean())


def test_least_for_the_same_direction(tensors):
    loss = AlignmentLoss(2.0)
    one, other = (tensor.detach() for tensor in tensors[:2])
    assert float(loss((3 * other, 0.1 * one), (one, other))) == (
        pytest.approx(-2))
    assert float(loss((-other, -one), (one, other))) == pytest.approx(2)


def test_gradients_stop_at_the_encodings(tensors):
    from_one, from_other, one, other = tensors
    AlignmentLoss()((from_one, from_other), (one, other)).backward()
    assert from_one.grad.any()
    assert from_other.grad.any()
    assert one.grad is None
    assert other.grad is None
