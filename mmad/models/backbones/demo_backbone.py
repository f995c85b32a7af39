from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from torch import nn
from torchvision.models.resnet import BasicBlock

from mmad.errors import InputError
from mmad.registry import MODELS

from .base import load_needed, read_weights
from .sequential_backbone import SequentialBackbone

_CHANNELS = {'layer1': 32, 'layer2': 64, 'layer3': 128}
_SHIPPED = Path(__file__).with_suffix('.pth')


@MODELS.register_module()
class DemoBackbone(SequentialBackbone):
    """A narrow ResNet-18 whose weights ship with the package.

    It is cut behind its last used stage. ``tools/make_demo_backbone.py``
    makes the shipped weights: it distils the first three stages of an
    ImageNet ResNet-18 on generated images. They serve demonstrations and
    tests without a download; use
    :class:`~mmad.models.backbones.torchvision_backbone.TorchvisionBackbone`
    for real work. Images are RGB, normalized with the mean and standard
    deviation of ImageNet.

    ======  ========  ======
    stage   channels  stride
    ======  ========  ======
    layer1  32        4
    layer2  64        8
    layer3  128       16
    ======  ========  ======

    Args:
        stages (Sequence[str]): Names out of the table.
            Defaults to ``('layer2', 'layer3')``.
        weights (str | None): ``'demo'`` for the shipped weights, the path of
            a local state dict, or ``None`` for random weights.
            Defaults to ``'demo'``.

    Raises:
        InputError: Unknown stage; a file that is missing, unreadable or lacks
            tensors of the requested stages.
    """

    def __init__(self,
                 stages: Sequence[str] = ('layer2', 'layer3'),
                 weights: str | None = 'demo') -> None:
        super().__init__(stages)
        unknown = [stage for stage in stages if stage not in _CHANNELS]
        if unknown:
            raise InputError(
                f'DemoBackbone has no stages {unknown}; choose from '
                f'{list(_CHANNELS)}.')
        self.body = _build(last=max(stages))
        if weights is not None:
            path = _SHIPPED if weights == 'demo' else weights
            load_needed(self.body, read_weights(path),
                        f'weights file "{path}"')
        self.freeze()


def _build(last: str) -> nn.Sequential:
    width = _CHANNELS['layer1']
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width), nn.ReLU(
                inplace=True), nn.MaxPool2d(3, stride=2, padding=1)))
    for name, channels in _CHANNELS.items():
        if name > last:
            break
        parts[name] = nn.Sequential(
            _block(width, channels), _block(channels, channels))
        width = channels
    body = nn.Sequential(parts)
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out')
    return body


def _block(inputs: int, outputs: int) -> BasicBlock:
    if inputs == outputs:
        return BasicBlock(inputs, outputs)
    return BasicBlock(
        inputs,
        outputs,
        stride=2,
        downsample=nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=2, bias=False),
            nn.BatchNorm2d(outputs)))
