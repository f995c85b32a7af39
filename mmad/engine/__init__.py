from .hooks import (
    FitAfterTrainHook,
    FitHook,
    ReportHook,
    SyncNormHook,
    VisualizationHook,
)

__all__ = [
    'FitAfterTrainHook', 'FitHook', 'ReportHook', 'SyncNormHook',
    'VisualizationHook'
]
