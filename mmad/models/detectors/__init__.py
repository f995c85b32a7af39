from .base import BaseDetector
from .fit_detector import FitDetector
from .patchcore import PatchCore

__all__ = ['BaseDetector', 'FitDetector', 'PatchCore']
