from .alignment_loss import AlignmentLoss
from .compactness_loss import CompactnessLoss
from .direction_loss import DirectionLoss
from .knowledge_loss import KnowledgeLoss
from .mean_transform_loss import MeanTransformLoss
from .metric_loss import MetricLoss
from .pair_loss import PairLoss
from .value_loss import ValueLoss

__all__ = [
    'AlignmentLoss',
    'CompactnessLoss',
    'DirectionLoss',
    'KnowledgeLoss',
    'MeanTransformLoss',
    'MetricLoss',
    'PairLoss',
    'ValueLoss'
]
