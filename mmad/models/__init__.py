from .backbones import (
    Cloner,
    DemoBackbone,
    ForeignBackbone,
    FrozenBackbone,
    HalfPrecisionBackbone,
    PatchNetwork,
    SequentialBackbone,
    TiledBackbone,
    TIMMBackbone,
    TorchvisionBackbone,
    TorchvisionResNet,
    build_backbone,
)
from .detectors import (
    FYD,
    MKD,
    SPADE,
    BaseDetector,
    Ensemble,
    FitDetector,
    PaDiM,
    PatchCore,
    UninformedStudents,
)
from .fit_state import FitState
from .losses import (
    AlignmentLoss,
    CompactnessLoss,
    MeanTransformLoss,
    PairLoss,
    TripletLoss,
)
from .teachers import PatchTeacher, load_teacher

__all__ = [
    'FYD', 'MKD', 'SPADE', 'AlignmentLoss', 'BaseDetector', 'Cloner',
    'CompactnessLoss', 'DemoBackbone', 'Ensemble', 'FitDetector', 'FitState',
    'ForeignBackbone', 'FrozenBackbone', 'HalfPrecisionBackbone',
    'MeanTransformLoss', 'PaDiM', 'PairLoss', 'PatchCore', 'PatchNetwork',
    'PatchTeacher', 'SequentialBackbone', 'TIMMBackbone', 'TiledBackbone',
    'TorchvisionBackbone', 'TorchvisionResNet', 'TripletLoss',
    'UninformedStudents', 'build_backbone', 'load_teacher'
]
