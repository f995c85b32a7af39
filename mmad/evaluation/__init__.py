from .metrics import ImageMetric, PixelMetric, SaturatedPROMetric

__all__ = ['ImageMetric', 'PixelMetric', 'SaturatedPROMetric']
