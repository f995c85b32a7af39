from .anomaly_inferencer import AnomalyInferencer
from .model import init_model
from .model_list import get_model, list_models
from .prediction_writer import PredictionWriter
from .record import make_record
from .update_checkpoint import CheckpointUpdate, update_checkpoint

__all__ = [
    'AnomalyInferencer', 'CheckpointUpdate', 'PredictionWriter', 'get_model',
    'init_model', 'list_models', 'make_record', 'update_checkpoint'
]
