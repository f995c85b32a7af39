import pytest
import torch

from mmad.errors import InputError
from mmad.models import SequentialBackbone, TorchvisionResNet
from mmad.registry import MODELS

STAGES = ['layer1', 'layer2', 'layer3']


@pytest.fixture
def pair(tmp_path):
    """The same weights in both backbones of torchvision."""
    torch.manual_seed(0)
    whole = MODELS.build(
        dict(
            type='TorchvisionBackbone',
            name='resnet18',
            stages=STAGES,
            weights=None))
    torch.save(whole.body.state_dict(), tmp_path / 'resnet18.pth')
    stepwise = MODELS.build(
        dict(
            type='TorchvisionResNet',
            name='resnet18',
            stages=STAGES,
            weights=str(tmp_path / 'resnet18.pth')))
    return whole, stepwise


def test_same_features_as_the_other_backbone(pair):
    whole, stepwise = pair
    inputs = torch.randn(2, 3, 64, 96)
    for ours, theirs in zip(stepwise(inputs), whole(inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert stepwise.name == whole.name
    assert stepwise.stages == whole.stages


def test_frozen_until_it_is_unfrozen(pair):
    _, backbone = pair
    assert isinstance(backbone, SequentialBackbone)
    assert not any(p.requires_grad for p in backbone.parameters())
    backbone.unfreeze()
    fixed = [
        name for name, p in backbone.named_parameters() if not p.requires_grad
    ]
    assert fixed == ['body.conv1.weight']
    assert not any(m.training for m in backbone.train().modules())
    backbone.freeze()
    assert not any(p.requires_grad for p in backbone.parameters())


def test_cut_behind_the_last_stage():
    backbone = TorchvisionResNet('resnet18', ['layer2', 'layer1'], None)
    assert [name for name, _ in backbone.body.named_children()
            ][-2:] == ['layer1', 'layer2']
    second, first = backbone(torch.randn(1, 3, 32, 32))
    assert (first.shape[1], second.shape[1]) == (64, 128)


def test_other_resnets():
    with torch.device('meta'):
        backbone = TorchvisionResNet('wide_resnet50_2', ['layer1'], None)
        assert backbone(torch.empty(1, 3, 32, 32))[0].shape == (1, 256, 8, 8)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(name='vgg16'), 'no ResNet "vgg16"; choose from resnet101'),
     (dict(stages=['layer5']), r"no stages \['layer5'\]; choose from layer1"),
     (dict(weights='IMAGENET1K_V7'), 'no weights "IMAGENET1K_V7"'),
     (dict(weights='none/such.pth'), r'such\.pth" does not exist')])
def test_wrong_arguments(kwargs, message):
    given = dict(name='resnet18', stages=STAGES, weights=None)
    with pytest.raises(InputError, match=message):
        TorchvisionResNet(**{**given, **kwargs})
