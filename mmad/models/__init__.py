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
    SignedDetector,
    UninformedStudents,
)
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
from .signed_model import SignedModel
from .teachers import PatchTeacher, load_teacher
from .trained_model import TrainedModel

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
    'SignedDetector',
    'SignedModel',
    'TorchvisionBackbone',
    'TorchvisionResNet',
    'TrainedModel',
    'UninformedStudents',
    'ValueLoss',
    'load_teacher'
]
