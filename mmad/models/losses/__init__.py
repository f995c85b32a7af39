from .alignment_loss import AlignmentLoss
from .centre_loss import CentreLoss
from .compactness_loss import CompactnessLoss
from .direction_loss import DirectionLoss
from .knowledge_loss import KnowledgeLoss
from .metric_loss import MetricLoss
from .pair_loss import PairLoss
from .value_loss import ValueLoss

__all__ = [
    'AlignmentLoss', 'CentreLoss', 'CompactnessLoss', 'DirectionLoss',
    'KnowledgeLoss', 'MetricLoss', 'PairLoss', 'ValueLoss'
]
