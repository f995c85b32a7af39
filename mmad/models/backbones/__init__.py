from .base import FrozenBackbone
from .cloner import Cloner
from .demo_backbone import DemoBackbone
from .patch_network import PatchNetwork
from .torchvision_backbone import TorchvisionBackbone

__all__ = [
    'Cloner', 'DemoBackbone', 'FrozenBackbone', 'PatchNetwork',
    'TorchvisionBackbone'
]
