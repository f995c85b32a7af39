from .fit_after_train_hook import FitAfterTrainHook
from .fit_hook import FitHook
from .report_hook import ReportHook
from .sync_norm_hook import SyncNormHook
from .visualization_hook import VisualizationHook

__all__ = [
    'FitAfterTrainHook', 'FitHook', 'ReportHook', 'SyncNormHook',
    'VisualizationHook'
]
