from .base import BaseDetector
from .ensemble import Ensemble
from .fit_detector import FitDetector
from .fyd import FYD
from .mkd import MKD
from .padim import PaDiM
from .patchcore import PatchCore
from .spade import SPADE
from .uninformed_students import UninformedStudents

__all__ = [
    'FYD', 'MKD', 'SPADE', 'BaseDetector', 'Ensemble', 'FitDetector', 'PaDiM',
    'PatchCore', 'UninformedStudents'
]
