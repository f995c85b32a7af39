from .image_metric import ImageMetric
from .pixel_metric import PixelMetric

__all__ = ['ImageMetric', 'PixelMetric']
