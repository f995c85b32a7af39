from .compactness_loss import CompactnessLoss
from .direction_loss import DirectionLoss
from .knowledge_loss import KnowledgeLoss
from .metric_loss import MetricLoss
from .value_loss import ValueLoss

__all__ = [
    'CompactnessLoss', 'DirectionLoss', 'KnowledgeLoss', 'MetricLoss',
    'ValueLoss'
]
