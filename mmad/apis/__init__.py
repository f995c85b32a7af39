from .anomaly_inferencer import AnomalyInferencer
from .model import init_model
from .update_checkpoint import CheckpointUpdate, update_checkpoint

__all__ = [
    'AnomalyInferencer', 'CheckpointUpdate', 'init_model', 'update_checkpoint'
]
