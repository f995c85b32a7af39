from .backbones import (
    Cloner,
    DemoBackbone,
    FrozenBackbone,
    PatchNetwork,
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
    'FYD',
    'MKD',
    'SPADE',
    'AlignmentLoss',
    'BaseDetector',
    'Cloner',
    'CompactnessLoss',
    'DemoBackbone',
    'FitDetector',
    'FitState',
    'FrozenBackbone',
    'MeanTransformLoss',
    'PaDiM',
    'PairLoss',
    'PatchCore',
    'PatchNetwork',
    'PatchTeacher',
    'SequentialBackbone',
    'TorchvisionBackbone',
    'TorchvisionResNet',
    'TripletLoss',
    'UninformedStudents',
    'load_teacher'
]
