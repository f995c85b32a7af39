from .hooks import (
    CalibrationHook,
    FitAfterTrainHook,
    FitHook,
    ReportHook,
    SyncNormHook,
    TeacherStatisticsHook,
    TrainingStartHook,
    VisualizationHook,
)

__all__ = [
    'CalibrationHook', 'FitAfterTrainHook', 'FitHook', 'ReportHook',
    'SyncNormHook', 'TeacherStatisticsHook', 'TrainingStartHook',
    'VisualizationHook'
]
