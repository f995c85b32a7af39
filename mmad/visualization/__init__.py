from .anomaly_visualizer import AnomalyVisualizer

__all__ = ['AnomalyVisualizer']
