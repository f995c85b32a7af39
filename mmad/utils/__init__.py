from mmad.errors import printable

from .arguments import (
    as_arguments,
    as_size,
    check_choice,
    check_flag,
    check_folder,
    check_number,
    check_numbers,
)
from .atomic_files import write_atomically
from .checkpoint import load_checkpoint
from .setup_env import setup_environment

__all__ = [
    'as_arguments', 'as_size', 'check_choice', 'check_flag', 'check_folder',
    'check_number', 'check_numbers', 'load_checkpoint', 'printable',
    'setup_environment', 'write_atomically'
]
