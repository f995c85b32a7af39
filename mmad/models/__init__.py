from .backbones import DemoBackbone, FrozenBackbone, TorchvisionBackbone
from .detectors import BaseDetector, FitDetector, PaDiM, PatchCore

__all__ = [
    'BaseDetector', 'DemoBackbone', 'FitDetector', 'FrozenBackbone',
    'PaDiM', 'PatchCore', 'TorchvisionBackbone'
]
