from .base import FrozenBackbone
from .cloner import Cloner
from .demo_backbone import DemoBackbone
from .torchvision_backbone import TorchvisionBackbone

__all__ = ['Cloner', 'DemoBackbone', 'FrozenBackbone', 'TorchvisionBackbone']
