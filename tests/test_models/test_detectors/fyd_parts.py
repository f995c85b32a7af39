"""The parts of FYD, its training in few steps, and transforms that move."""
import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmad.models.layers import SpatialTransformer

ICA = dict(mode='rotation_translation', grid=2)
FCA = dict(mode='rotation_translation_scale', grid=2)
FAS = dict(stages=['layer2'])
ALL = dict(ica=ICA, fca=FCA, fas=FAS)
PARTS = {
    'ica': dict(ica=ICA),
    'fas': dict(fas=FAS),
    'ica+fas': dict(ica=ICA, fas=FAS),
    'fca+fas': dict(fca=FCA, fas=FAS),
    'all': ALL
}
parts = pytest.mark.parametrize('switches', PARTS.values(), ids=PARTS)


def train(detector, images, steps=3, lr=0.05):
    """So many steps as the training loop would take them."""
    optimizer = OptimWrapper(
        torch.optim.SGD((p for p in detector.parameters() if p.requires_grad),
                        lr))
    detector.train()
    logs = [
        detector.train_step(
            dict(inputs=images, data_samples=[None] * len(images)), optimizer)
        for _ in range(steps)
    ]
    return [{
        name: value.item()
        for name, value in log.items()
    } for log in logs]


def disturb(detector, weight=0.6, bias=0.03):
    """Transforms away from the identity."""
    torch.manual_seed(3)
    for module in detector.modules():
        if isinstance(module, SpatialTransformer):
            nn.init.normal_(module.linear[-1].weight, std=weight)
            nn.init.normal_(module.linear[-1].bias, std=bias)
    return detector.eval()
