from .direction_loss import DirectionLoss
from .value_loss import ValueLoss

__all__ = ['DirectionLoss', 'ValueLoss']
