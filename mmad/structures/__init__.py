from .anomaly_data_sample import AnomalyDataSample
from .region import Region

__all__ = ['AnomalyDataSample', 'Region']
