from .backbones import DemoBackbone, FrozenBackbone, TorchvisionBackbone
from .detectors import BaseDetector, FitDetector, PatchCore

__all__ = [
    'BaseDetector', 'DemoBackbone', 'FitDetector', 'FrozenBackbone',
    'PatchCore', 'TorchvisionBackbone'
]
