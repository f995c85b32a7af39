from . import transforms
from .anomaly_dataset import AnomalyDataset
from .btad import BTAD
from .concat_dataset import ConcatDataset
from .folder_dataset import FolderDataset
from .magnetic_tile import MagneticTile
from .mpdd import MPDD
from .mvtec_ad import MVTecAD
from .mvtec_ad_2 import MVTecAD2
from .mvtec_loco import MVTecLOCO
from .natural_images import NaturalImages
from .one_class import OneClassDataset
from .running_index_sampler import RunningIndexSampler
from .torchvision_images import TorchvisionImages
from .visa import VisA

__all__ = [
    'BTAD', 'MPDD', 'AnomalyDataset', 'ConcatDataset', 'FolderDataset',
    'MVTecAD', 'MVTecAD2', 'MVTecLOCO', 'MagneticTile', 'NaturalImages',
    'OneClassDataset', 'RunningIndexSampler', 'TorchvisionImages', 'VisA',
    'transforms'
]
