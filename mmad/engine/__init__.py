from .checkpoint_mean_loop import CheckpointMeanLoop
from .hooks import (
    CalibrationHook,
    CheckpointHook,
    EarlyStoppingHook,
    EMAHook,
    FitAfterTrainHook,
    FitHook,
    ProgressHook,
    ReportHook,
    ScaleSequenceHook,
    StudentStatisticsHook,
    SyncNormHook,
    TeacherStatisticsHook,
    TrainingStartHook,
    VisualizationHook,
    check_runner,
)
from .tool_runner import ToolRunner
from .unsupported_parts import refuse_unsupported

__all__ = [
    'CalibrationHook', 'CheckpointHook', 'CheckpointMeanLoop', 'EMAHook',
    'EarlyStoppingHook', 'FitAfterTrainHook', 'FitHook', 'ProgressHook',
    'ReportHook', 'ScaleSequenceHook', 'StudentStatisticsHook', 'SyncNormHook',
    'TeacherStatisticsHook', 'ToolRunner', 'TrainingStartHook',
    'VisualizationHook', 'check_runner', 'refuse_unsupported'
]
