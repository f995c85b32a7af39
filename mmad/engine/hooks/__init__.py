from .calibration_hook import CalibrationHook
from .fit_after_train_hook import FitAfterTrainHook
from .fit_hook import FitHook
from .report_hook import ReportHook
from .sync_norm_hook import SyncNormHook
from .teacher_statistics_hook import TeacherStatisticsHook
from .training_start_hook import TrainingStartHook
from .visualization_hook import VisualizationHook

__all__ = [
    'CalibrationHook', 'FitAfterTrainHook', 'FitHook', 'ReportHook',
    'SyncNormHook', 'TeacherStatisticsHook', 'TrainingStartHook',
    'VisualizationHook'
]
