from .calibration_hook import CalibrationHook
from .checkpoint_hook import CheckpointHook
from .early_stopping_hook import EarlyStoppingHook
from .ema_hook import EMAHook
from .fit_after_train_hook import FitAfterTrainHook
from .fit_hook import FitHook
from .progress_hook import ProgressHook
from .report_hook import ReportHook
from .runner_check import check_runner
from .scale_sequence_hook import ScaleSequenceHook
from .student_statistics_hook import StudentStatisticsHook
from .sync_norm_hook import SyncNormHook
from .teacher_statistics_hook import TeacherStatisticsHook
from .training_start_hook import TrainingStartHook
from .visualization_hook import VisualizationHook

__all__ = [
    'CalibrationHook', 'CheckpointHook', 'EMAHook', 'EarlyStoppingHook',
    'FitAfterTrainHook', 'FitHook', 'ProgressHook', 'ReportHook',
    'ScaleSequenceHook', 'StudentStatisticsHook', 'SyncNormHook',
    'TeacherStatisticsHook', 'TrainingStartHook', 'VisualizationHook',
    'check_runner'
]
