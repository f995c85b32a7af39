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
    DirectionLoss,
    KnowledgeLoss,
    MeanTransformLoss,
    MetricLoss,
    PairLoss,
    ValueLoss,
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
    'DirectionLoss',
    'FitDetector',
    'FitState',
    'FrozenBackbone',
    'KnowledgeLoss',
    'MeanTransformLoss',
    'MetricLoss',
    'PaDiM',
    'PairLoss',
    'PatchCore',
    'PatchNetwork',
    'PatchTeacher',
    'SequentialBackbone',
    'TorchvisionBackbone',
    'TorchvisionResNet',
    'UninformedStudents',
    'ValueLoss',
    'load_teacher'
]
