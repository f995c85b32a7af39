from .anomaly_inferencer import AnomalyInferencer
from .model import init_model

__all__ = ['AnomalyInferencer', 'init_model']
