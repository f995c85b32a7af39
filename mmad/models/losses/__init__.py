from .activation_losses import direction_loss, value_loss
from .alignment_loss import AlignmentLoss
from .compactness_loss import CompactnessLoss
from .mean_transform_loss import MeanTransformLoss
from .pair_loss import PairLoss
from .triplet_loss import TripletLoss

__all__ = [
    'AlignmentLoss', 'CompactnessLoss', 'MeanTransformLoss', 'PairLoss',
    'TripletLoss', 'direction_loss', 'value_loss'
]
