from .base import BaseDetector
from .fit_detector import FitDetector
from .fyd import FYD
from .mkd import MKD
from .padim import PaDiM
from .patchcore import PatchCore
from .signed_detector import SignedDetector
from .spade import SPADE

__all__ = [
    'FYD', 'MKD', 'SPADE', 'BaseDetector', 'FitDetector', 'PaDiM', 'PatchCore',
    'SignedDetector'
]
