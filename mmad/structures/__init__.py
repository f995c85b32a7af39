from .anomaly_data_sample import AnomalyDataSample
from .region import Region
from .saturation import Saturation

__all__ = ['AnomalyDataSample', 'Region', 'Saturation']
