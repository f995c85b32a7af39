import pytest
import torch
from tiny_models import SteppedBackbone


@pytest.fixture
def inputs():
    return torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    'stages', [['layer1', 'layer2'], ['layer2', 'layer1'], ['layer2']])
@torch.no_grad()
def test_stages_follow_each_other_and_come_as_asked_for(inputs, stages):
    backbone = SteppedBackbone(stages)
    (first, _), (second, _) = backbone.body
    expected = dict(layer1=first(inputs).relu())
    expected['layer2'] = second(expected['layer1']).relu()
    found = backbone(inputs)
    assert len(found) == len(stages)
    for name, part in zip(stages, found, strict=True):
        torch.testing.assert_close(part, expected[name])


@torch.no_grad()
def test_a_detector_can_step_through_the_body(inputs):
    backbone = SteppedBackbone()
    expected = dict(zip(backbone.stages, backbone(inputs), strict=True))
    for name, part in backbone.body.named_children():
        inputs = part(inputs)
        torch.testing.assert_close(inputs, expected.pop(name))
    assert not expected


def test_it_is_frozen():
    backbone = SteppedBackbone().train()
    assert not any(module.training for module in backbone.body.modules())
    assert not any(part.requires_grad for part in backbone.parameters())
