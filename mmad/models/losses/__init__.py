from .alignment_loss import AlignmentLoss
from .centre_loss import CentreLoss
from .direction_loss import DirectionLoss
from .pair_loss import PairLoss
from .value_loss import ValueLoss

__all__ = [
    'AlignmentLoss', 'CentreLoss', 'DirectionLoss', 'PairLoss', 'ValueLoss'
]
