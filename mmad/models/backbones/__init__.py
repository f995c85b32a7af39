from .base import FrozenBackbone
from .demo_backbone import DemoBackbone
from .torchvision_backbone import TorchvisionBackbone

__all__ = ['DemoBackbone', 'FrozenBackbone', 'TorchvisionBackbone']
