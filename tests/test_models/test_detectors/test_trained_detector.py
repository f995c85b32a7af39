import pytest
import torch

from mmad.errors import InputError
from mmad.models import BaseDetector


class Offset(BaseDetector):
    """Trained by gradients: how far images are from a learned number."""

    def __init__(self, name='offset'):
        super().__init__()
        self.name = name
        self.offset = torch.nn.Parameter(torch.zeros(()))

    def fingerprint(self):
        return dict(super().fingerprint(), sizes=(1, 2), name=self.name)

    def loss(self, inputs, data_samples):
        return dict(loss=(inputs - self.offset).square().mean())

    def score(self, inputs):
        self.require_fitted()
        maps = (inputs - self.offset).abs().mean(1, keepdim=True)
        return maps.amax((1, 2, 3)), maps


@pytest.fixture
def trained(images):
    detector = Offset()
    detector.begin_training(1)
    detector.parse_losses(detector(images, mode='loss'))
    return detector


def test_unfitted_neither_predicts_nor_loads(images):
    assert not Offset().is_fitted
    with pytest.raises(InputError, match='Offset is not fitted'):
        Offset()(images)
    with pytest.raises(InputError, match='no fitted state of Offset'):
        Offset().load_state_dict(Offset().state_dict())


def test_fitted_state_loads(trained, images):
    other = Offset()
    other.load_state_dict(trained.state_dict())
    assert other.is_fitted
    assert torch.equal(other(images)[1], trained(images)[1])


def test_another_setting_is_refused(trained):
    with pytest.raises(InputError, match="name 'offset' instead of 'other'"):
        Offset('other').load_state_dict(trained.state_dict())


def test_a_new_training_after_a_change(trained):
    trained.name = 'other'
    trained.begin_training(0)
    Offset('other').load_state_dict(trained.state_dict())
