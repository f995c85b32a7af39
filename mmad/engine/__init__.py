from .hooks import (
    CalibrationHook,
    CheckpointHook,
    EarlyStoppingHook,
    EMAHook,
    FitAfterTrainHook,
    FitHook,
    ReportHook,
    ScaleSequenceHook,
    SyncNormHook,
    TeacherStatisticsHook,
    TrainingStartHook,
    VisualizationHook,
    check_runner,
)
from .unsupported_parts import refuse_unsupported

__all__ = [
    'CalibrationHook', 'CheckpointHook', 'EMAHook', 'EarlyStoppingHook',
    'FitAfterTrainHook', 'FitHook', 'ReportHook', 'ScaleSequenceHook', 'SyncNormHook',
    'TeacherStatisticsHook', 'TrainingStartHook', 'VisualizationHook',
    'check_runner', 'refuse_unsupported'
]
