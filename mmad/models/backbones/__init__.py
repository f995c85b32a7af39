from .base import FrozenBackbone
from .build_backbone import build_backbone
from .cloner import Cloner
from .demo_backbone import DemoBackbone
from .foreign_backbone import ForeignBackbone
from .half_precision_backbone import HalfPrecisionBackbone
from .patch_network import PatchNetwork
from .sequential_backbone import SequentialBackbone
from .tiled_backbone import TiledBackbone
from .timm_backbone import TIMMBackbone
from .torchvision_backbone import TorchvisionBackbone
from .torchvision_resnet import TorchvisionResNet

__all__ = [
    'Cloner', 'DemoBackbone', 'ForeignBackbone', 'FrozenBackbone',
    'HalfPrecisionBackbone', 'PatchNetwork', 'SequentialBackbone',
    'TIMMBackbone', 'TiledBackbone', 'TorchvisionBackbone',
    'TorchvisionResNet', 'build_backbone'
]
