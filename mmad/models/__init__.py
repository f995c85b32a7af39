from .backbones import DemoBackbone, FrozenBackbone, TorchvisionBackbone
from .detectors import SPADE, BaseDetector, FitDetector, PaDiM, PatchCore

__all__ = [
    'SPADE', 'BaseDetector', 'DemoBackbone', 'FitDetector', 'FrozenBackbone',
    'PaDiM', 'PatchCore', 'TorchvisionBackbone'
]
