import pytest
import torch

from mmad.errors import InputError
from mmad.models import SignedDetector


class Offset(SignedDetector):
    """Trained by gradients: how far images are from a learned number."""

    def __init__(self, name='offset'):
        super().__init__()
        self.name = name
        self.offset = torch.nn.Parameter(torch.zeros(()))

    def signature(self):
        return dict(detector='Offset', sizes=(1, 2), name=self.name)

    def loss(self, inputs, data_samples):
        self.sign()
        return dict(loss=(inputs - self.offset).square().mean())

    def score(self, inputs):
        self.require_fitted()
        maps = (inputs - self.offset).abs().mean(1, keepdim=True)
        return maps.amax((1, 2, 3)), maps


@pytest.fixture
def signed(images):
    detector = Offset()
    detector(images, mode='loss')
    return detector


def test_unsigned_neither_predicts_nor_loads(images):
    assert not Offset().is_fitted
    with pytest.raises(InputError, match='Offset is not fitted'):
        Offset()(images)
    with pytest.raises(InputError, match='no fitted state of Offset'):
        Offset().load_state_dict(Offset().state_dict())


def test_signed_state_loads(signed, images):
    other = Offset()
    other.load_state_dict(signed.state_dict())
    assert other.is_fitted
    assert torch.equal(other(images)[1], signed(images)[1])


def test_another_setting_is_refused(signed):
    with pytest.raises(InputError, match="name 'offset' instead of 'other'"):
        Offset('other').load_state_dict(signed.state_dict())


def test_signing_again_after_a_change(signed):
    signed.name = 'other'
    signed.sign()
    Offset('other').load_state_dict(signed.state_dict())
