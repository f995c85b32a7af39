from .base import BaseDetector
from .fit_detector import FitDetector
from .padim import PaDiM
from .patchcore import PatchCore

__all__ = ['BaseDetector', 'FitDetector', 'PaDiM', 'PatchCore']
