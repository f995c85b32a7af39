from collections import OrderedDict
from collections.abc import Sequence

from torch import nn
from torchvision.models import (
    get_model,
    get_model_builder,
    list_models,
    resnet,
)

from mmad.errors import InputError
from mmad.registry import MODELS

from .base import load_needed
from .sequential_backbone import SequentialBackbone
from .torchvision_backbone import find_weights

_STAGES = ('layer1', 'layer2', 'layer3', 'layer4')


@MODELS.register_module()
class TorchvisionResNet(SequentialBackbone):
    """A ResNet of torchvision, stage by stage.

    The same network as
    :class:`~mmad.models.backbones.torchvision_backbone.TorchvisionBackbone`
    of that name, for detectors that step in between its stages.

    Args:
        name (str): torchvision model name, ``'resnet18'`` or another ResNet,
            ResNeXt or Wide ResNet.
        stages (Sequence[str]): Out of ``'layer1'`` to ``'layer4'``.
        weights (str | None): A torchvision weights name such as
            ``'IMAGENET1K_V1'`` (downloaded and cached by torchvision), the
            path of a local state dict, or ``None`` for random weights.

    Raises:
        InputError: Unknown network, stage or weights name; a file that lacks
            tensors of the requested stages; a download that fails.
    """

    def __init__(self, name: str, stages: Sequence[str],
                 weights: str | None) -> None:
        super().__init__(stages)
        known = [
            model for model in list_models()
            if get_model_builder(model).__module__ == resnet.__name__
        ]
        if name not in known:
            raise InputError(f'torchvision has no ResNet "{name}"; choose '
                             f'from {", ".join(known)}.')
        unknown = [stage for stage in stages if stage not in _STAGES]
        if unknown:
            raise InputError(f'"{name}" has no stages {unknown}; choose from '
                             f'{", ".join(_STAGES)}.')
        self.name = name
        parts = OrderedDict()
        for part, module in get_model(name, weights=None).named_children():
            parts[part] = module
            if part == max(stages):
                break
        self.body = nn.Sequential(parts)
        if weights is not None:
            load_needed(self.body, *find_weights(name, weights))
        self.freeze()
