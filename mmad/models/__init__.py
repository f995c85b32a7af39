from .backbones import (
    Cloner,
    DemoBackbone,
    FrozenBackbone,
    TorchvisionBackbone,
)
from .detectors import (
    MKD,
    SPADE,
    BaseDetector,
    FitDetector,
    PaDiM,
    PatchCore,
    SignedDetector,
)
from .losses import DirectionLoss, ValueLoss

__all__ = [
    'MKD', 'SPADE', 'BaseDetector', 'Cloner', 'DemoBackbone', 'DirectionLoss',
    'FitDetector', 'FrozenBackbone', 'PaDiM', 'PatchCore', 'SignedDetector',
    'TorchvisionBackbone', 'ValueLoss'
]
