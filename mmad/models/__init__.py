from .backbones import (
    Cloner,
    DemoBackbone,
    FrozenBackbone,
    PatchNetwork,
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
    UninformedStudents,
)
from .losses import (
    CompactnessLoss,
    DirectionLoss,
    KnowledgeLoss,
    MetricLoss,
    ValueLoss,
)
from .signed_model import SignedModel
from .teachers import PatchTeacher, load_teacher

__all__ = [
    'MKD', 'SPADE', 'BaseDetector', 'Cloner', 'CompactnessLoss',
    'DemoBackbone', 'DirectionLoss', 'FitDetector', 'FrozenBackbone',
    'KnowledgeLoss', 'MetricLoss', 'PaDiM', 'PatchCore', 'PatchNetwork',
    'PatchTeacher', 'SignedDetector', 'SignedModel', 'TorchvisionBackbone',
    'UninformedStudents', 'ValueLoss', 'load_teacher'
]
