from .atomic_files import write_atomically
from .checkpoint import load_checkpoint
from .setup_env import setup_environment

__all__ = ['load_checkpoint', 'setup_environment', 'write_atomically']
