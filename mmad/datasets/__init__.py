from . import transforms
from .anomaly_dataset import AnomalyDataset
from .folder_dataset import FolderDataset
from .mvtec_ad import MVTecAD

__all__ = ['AnomalyDataset', 'FolderDataset', 'MVTecAD', 'transforms']
