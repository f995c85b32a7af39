import os

import torch
from mmengine.registry import init_default_scope

from mmad.errors import InputError

from .atomic_files import register_atomic_backend
from .checkpoint import register_safe_loader

# The environment variables in which launchers store the rank of a process,
# the number of processes, and so on.
_NUMBERS = dict(
    pytorch=('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
    slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE',
         'OMPI_COMM_WORLD_LOCAL_RANK'))
_STARTERS = dict(
    pytorch=' (tools/dist_train.sh, torchrun)',
    slurm=' (tools/slurm_train.sh, srun)',
    mpi=' (mpirun)')


def setup_environment(launcher: str = 'none') -> None:
    """Set up MMEngine for a tool, and initialize the process group.

    This changes MMEngine in the whole process: its default scope becomes
    mmad, it reads every checkpoint with ``weights_only=True``, and it writes
    local files atomically. The tools call this function, and your own scripts
    may do so too. :func:`mmad.apis.init_model` does not need it.

    On a machine without CUDA, the process group of the gloo back end is
    initialized here, since MMEngine would need a CUDA device to do so.

    Args:
        launcher (str): ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        InputError: If the launcher has not started this process, or the
            processes cannot connect.
    """
    init_default_scope('mmad')
    register_safe_loader()
    register_atomic_backend()
    if launcher == 'none' or torch.distributed.is_initialized():
        return
    check_launcher(launcher)
    if not torch.cuda.is_available():
        _set_rendezvous(launcher)
        try:
            torch.distributed.init_process_group('gloo')
        # Raised for an unknown host or a port that is in use.
        except (RuntimeError, ValueError) as error:
            raise InputError(
                'the processes do not find each other at '
                f'{os.environ.get("MASTER_ADDR")}:'
                f'{os.environ.get("MASTER_PORT")}, or the port is taken '
                f'({" ".join(str(error).split())[:200]}); correct MASTER_ADDR '
                'and MASTER_PORT in the environment.') from error


def launched_rank(launcher: str) -> int:
    """Return the rank that a launcher has given to this process.

    It is known before the process group is initialized.
    """
    name = _NUMBERS[launcher][0] if launcher in _NUMBERS else ''
    value = os.environ.get(name, '')
    return int(value) if value.isdecimal() else 0


def check_launcher(launcher: str) -> None:
    """Check that the launcher has started this process.

    Raises:
        InputError: If one of its environment variables is missing or not a
            number.
    """
    for name in _NUMBERS.get(launcher, ()):
        value = os.environ.get(name, '')
        if not value or not (value.isdecimal() or name == 'MASTER_ADDR'):
            raise InputError(
                f'--launcher {launcher} needs {", ".join(_NUMBERS[launcher])} '
                f'in the environment, but {name} is '
                f'{value or "missing"}; start this with the '
                f'launcher itself{_STARTERS[launcher]}, or leave --launcher '
                'out for a single process.')


def _set_rendezvous(launcher: str) -> None:
    """Set the environment variables of PyTorch from those of a launcher."""
    if launcher == 'pytorch':
        return
    for target, name in zip(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
                            _NUMBERS[launcher]):
        os.environ.setdefault(target, os.environ[name])
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', '29500')
