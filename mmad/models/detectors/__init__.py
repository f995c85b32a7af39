from .base import BaseDetector
from .fit_detector import FitDetector
from .padim import PaDiM
from .patchcore import PatchCore
from .spade import SPADE

__all__ = ['SPADE', 'BaseDetector', 'FitDetector', 'PaDiM', 'PatchCore']
