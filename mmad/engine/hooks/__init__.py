from .fit_hook import FitHook
from .report_hook import ReportHook
from .visualization_hook import VisualizationHook

__all__ = ['FitHook', 'ReportHook', 'VisualizationHook']
