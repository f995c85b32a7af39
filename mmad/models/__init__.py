from .backbones import (
    Cloner,
    DemoBackbone,
    FrozenBackbone,
    SequentialBackbone,
    TorchvisionBackbone,
    TorchvisionResNet,
)
from .detectors import (
    FYD,
    MKD,
    SPADE,
    BaseDetector,
    FitDetector,
    PaDiM,
    PatchCore,
    SignedDetector,
)
from .losses import (
    AlignmentLoss,
    CentreLoss,
    DirectionLoss,
    PairLoss,
    ValueLoss,
)

__all__ = [
    'FYD', 'MKD', 'SPADE', 'AlignmentLoss', 'BaseDetector', 'CentreLoss',
    'Cloner', 'DemoBackbone', 'DirectionLoss', 'FitDetector', 'FrozenBackbone',
    'PaDiM', 'PairLoss', 'PatchCore', 'SequentialBackbone', 'SignedDetector',
    'TorchvisionBackbone', 'TorchvisionResNet', 'ValueLoss'
]
