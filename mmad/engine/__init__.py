from .hooks import FitHook, ReportHook, VisualizationHook

__all__ = ['FitHook', 'ReportHook', 'VisualizationHook']
