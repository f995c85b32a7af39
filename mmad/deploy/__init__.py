from .export_model import export_model

__all__ = ['export_model']
