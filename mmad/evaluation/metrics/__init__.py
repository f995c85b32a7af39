from .image_metric import ImageMetric
from .pixel_metric import PixelMetric
from .saturated_pro_metric import SaturatedPROMetric

__all__ = ['ImageMetric', 'PixelMetric', 'SaturatedPROMetric']
