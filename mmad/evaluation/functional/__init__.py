from .curves import aupro, auroc, average_precision, best_f1
from .histogram import ScoreHistogram
from .pose_errors import pose_errors
from .ranking import Ranking, rank, rank_sorted
from .regions import region_weights

__all__ = [
    'Ranking', 'ScoreHistogram', 'aupro', 'auroc', 'average_precision',
    'best_f1', 'pose_errors', 'rank', 'rank_sorted', 'region_weights'
]
