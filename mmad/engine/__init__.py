from .config_checks import check_parts
from .hooks import (
    CalibrationHook,
    CheckpointHook,
    EarlyStoppingHook,
    EMAHook,
    FitAfterTrainHook,
    FitHook,
    ReportHook,
    SyncNormHook,
    TeacherStatisticsHook,
    TrainingStartHook,
    VisualizationHook,
    check_run,
)

__all__ = [
    'CalibrationHook', 'CheckpointHook', 'EMAHook', 'EarlyStoppingHook',
    'FitAfterTrainHook', 'FitHook', 'ReportHook', 'SyncNormHook',
    'TeacherStatisticsHook', 'TrainingStartHook', 'VisualizationHook',
    'check_parts', 'check_run'
]
