from .base import FrozenBackbone
from .cloner import Cloner
from .demo_backbone import DemoBackbone
from .patch_network import PatchNetwork
from .sequential_backbone import SequentialBackbone
from .torchvision_backbone import TorchvisionBackbone
from .torchvision_resnet import TorchvisionResNet

__all__ = [
    'Cloner', 'DemoBackbone', 'FrozenBackbone', 'PatchNetwork',
    'SequentialBackbone', 'TorchvisionBackbone', 'TorchvisionResNet'
]
