import re
from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights, list_models
from torchvision.models.feature_extraction import (
    create_feature_extractor,
    get_graph_node_names,
)

from mmad.errors import InputError
from mmad.registry import MODELS

from .base import FrozenBackbone, load_needed, read_weights

# The published files of DenseNets have `norm.1` in place of `norm1`.
_OLD_NAME = re.compile(r'(denselayer\d+\.(?:norm|conv))\.([12])\.')


@MODELS.register_module()
class TorchvisionBackbone(FrozenBackbone):
    """A convolutional torchvision network, cut behind its last used stage.

    Any classification network will do whose stages are maps
    ``(B, C, H, W)`` of images of any size: the families of AlexNet, ConvNeXt,
    DenseNet, EfficientNet, GoogLeNet, Inception, MNASNet, MobileNet, RegNet,
    ResNet, ResNeXt, ShuffleNet, SqueezeNet, VGG and Wide ResNet do, MaxViT,
    Swin and ViT do not.

    Args:
        name (str): torchvision model name, such as ``'wide_resnet50_2'``.
        stages (Sequence[str]): Node names in the network's graph, such as
            ``('layer2', 'layer3')`` for ResNets or ``('features.9',)`` for
            VGG; :func:`torchvision.models.feature_extraction.
            get_graph_node_names` lists them.
        weights (str | None): A torchvision weights name such as
            ``'IMAGENET1K_V1'`` (downloaded and cached by torchvision), the
            path of a local state dict, or ``None`` for random weights.

    Raises:
        InputError: Unknown network, stage or weights name; a stage that is no
            such map; a file that lacks tensors of the requested stages; a
            download that fails.
    """

    def __init__(self, name: str, stages: Sequence[str],
                 weights: str | None) -> None:
        super().__init__(stages)
        if name not in list_models(torchvision.models):
            raise InputError(
                f'torchvision has no classification model "{name}"; see '
                'torchvision.models.list_models(torchvision.models).')
        self.name = name
        network = get_model(name, weights=None)
        try:
            self.body = create_feature_extractor(network, list(stages))
        except ValueError as error:
            top_level = sorted({
                node.split('.')[0]
                for node in get_graph_node_names(network)[1]
            })
            raise InputError(
                f'"{name}" has no stages {list(stages)}; its graph nodes '
                f'begin with {top_level}.') from error
        self.freeze()
        self._check_maps()
        if weights is not None:
            load_needed(self.body, *find_weights(name, weights))

    @torch.no_grad()
    def _check_maps(self) -> None:
        """Refuse stages that are no maps ``(B, C, H, W)``."""
        # Higher than wide, so that channels at the end stand out.
        try:
            # Not by calling it, which would print what it raises.
            maps = self.body.forward(torch.zeros(1, 3, 160, 96))
            maps = [maps[stage] for stage in self.stages]
        # What networks say to images of another size than theirs.
        except (AssertionError, RuntimeError, ValueError) as error:
            reason = ' '.join(str(error).split())[:200]
        else:
            wrong = [
                f'"{stage}" is {tuple(one.shape)}'
                for stage, one in zip(self.stages, maps)
                if one.ndim != 4 or one.shape[2] < one.shape[3]
            ]
            if not wrong:
                return
            reason = f'for an image of 160 x 96, {wrong[0]}'
        raise InputError(
            f'"{self.name}" with the stages {list(self.stages)} gives no maps '
            f'(B, C, H, W) of images of any size ({reason}); take a '
            'convolutional network, such as resnet18, vgg16, densenet121, '
            'efficientnet_b0 or convnext_tiny, and stages before its pooling.')

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Extract the stages.

        Args:
            inputs (Tensor): Normalized RGB images ``(B, 3, H, W)``.

        Returns:
            tuple[Tensor, ...]: One map ``(B, C_k, H_k, W_k)`` per stage.
        """
        return self._cpu_copy.compute(self.body, inputs, self._maps)

    def _maps(self, body: nn.Module, inputs: Tensor) -> list[Tensor]:
        maps = body(inputs)
        return [maps[stage] for stage in self.stages]


def find_weights(name: str, weights: str) -> tuple[dict[str, Tensor], str]:
    """Get the weights of a torchvision model.

    Args:
        name (str): Of the model.
        weights (str): A weights name of torchvision, or a local file.

    Returns:
        tuple[dict[str, Tensor], str]: The state dict, and where it is from.

    Raises:
        InputError: An unknown name, or a file that cannot be had.
    """
    known = get_model_weights(name).__members__
    if weights not in known:
        if '/' not in weights and '.' not in weights:
            raise InputError(
                f'"{name}" has no weights "{weights}"; torchvision knows '
                f'{sorted(known)}, or give the path of a local file.')
        return _rename(read_weights(weights)), f'weights file "{weights}"'
    entry = known[weights]
    try:
        state = entry.get_state_dict(
            progress=True, check_hash=True, weights_only=True)
    # No network, half a download, another hash, a broken file in the cache:
    # these have no narrower common base.
    except Exception as error:
        file = entry.url.rsplit('/', 1)[-1]
        raise InputError(
            f'the weights of {name} ({weights}) cannot be fetched '
            f'({error}); fetch "{file}" from download.pytorch.org on another '
            f'machine and put it into "{torch.hub.get_dir()}/checkpoints", or '
            'name a local file with --weights FILE.') from error
    return _rename(state), f'{name} {weights}'


def _rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        _OLD_NAME.sub(r'\1\2.', name): value
        for name, value in state.items()
    }
