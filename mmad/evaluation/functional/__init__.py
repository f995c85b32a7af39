from .curves import aupro, auroc, average_precision, best_f1
from .histogram import ScoreHistogram
from .ranking import Ranking, rank, rank_sorted
from .regions import region_weights

__all__ = [
    'Ranking', 'ScoreHistogram', 'aupro', 'auroc', 'average_precision',
    'best_f1', 'rank', 'rank_sorted', 'region_weights'
]
