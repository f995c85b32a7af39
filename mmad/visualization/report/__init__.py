"""The page of ``tools/report.py``."""
from .build_page import build_page
from .run import Run, read_runs

__all__ = ['Run', 'build_page', 'read_runs']
