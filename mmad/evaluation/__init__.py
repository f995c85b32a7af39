from .metrics import ImageMetric, PixelMetric

__all__ = ['ImageMetric', 'PixelMetric']
