from .hooks import FitHook, ReportHook, SyncNormHook, VisualizationHook

__all__ = ['FitHook', 'ReportHook', 'SyncNormHook', 'VisualizationHook']
