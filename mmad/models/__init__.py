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
    MeanTransformLoss,
    PairLoss,
    TripletLoss,
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
    'FitDetector',
    'FrozenBackbone',
    'MeanTransformLoss',
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
    'TripletLoss',
    'UninformedStudents',
    'load_teacher'
]
