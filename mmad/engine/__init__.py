from .hooks import (
    CalibrationHook,
    FitAfterTrainHook,
    FitHook,
    ReportHook,
    SyncNormHook,
    TeacherStatisticsHook,
    VisualizationHook,
)

__all__ = [
    'CalibrationHook', 'FitAfterTrainHook', 'FitHook', 'ReportHook',
    'SyncNormHook', 'TeacherStatisticsHook', 'VisualizationHook'
]
