from .curves import Curves, aupro, auroc, average_precision, best_f1, curves
from .histogram import ScoreHistogram
from .pose_errors import pose_errors
from .ranking import Ranking, rank, rank_sorted, thin
from .regions import pixel_weights, region_weights, saturated_weights

__all__ = [
    'Curves', 'Ranking', 'ScoreHistogram', 'aupro', 'auroc',
    'average_precision', 'best_f1', 'curves', 'pixel_weights', 'pose_errors',
    'rank', 'rank_sorted', 'region_weights', 'saturated_weights', 'thin'
]
