import os

import torch
from mmengine.registry import init_default_scope

from mmad.errors import InputError

from .atomic_files import register_atomic_backend
from .checkpoint import register_safe_loader

# The variables in which a launcher tells a process its rank, how many there
# are, and so on.
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
    """Prepare the process of a tool: scope, safe files, process group.

    This changes MMEngine for the whole process: its default scope is mmad, it
    reads every checkpoint with ``weights_only=True``, and writes local files
    atomically. The tools call it, and so may scripts of one's own;
    :func:`mmad.apis.init_model` needs none of it.

    MMEngine sets a CUDA device whatever the back end, so on a machine
    without one the gloo group is made here, before its runner.

    Args:
        launcher (str): ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        InputError: The launcher has not started this process, or it does not
            find the others.
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
        # A host that is not found, a port that is taken.
        except (RuntimeError, ValueError) as error:
            raise InputError(
                'the processes do not find each other at '
                f'{os.environ.get("MASTER_ADDR")}:'
                f'{os.environ.get("MASTER_PORT")} (MASTER_ADDR and '
                'MASTER_PORT), or the port is taken '
                f'({" ".join(str(error).split())[:200]}).') from error


def launched_rank(launcher: str) -> int:
    """The rank that a launcher gave this process, before there is a group."""
    name = _NUMBERS[launcher][0] if launcher in _NUMBERS else ''
    value = os.environ.get(name, '')
    return int(value) if value.isdecimal() else 0


def check_launcher(launcher: str) -> None:
    """Check that the launcher has started this process.

    Raises:
        InputError: One of its variables is missing or no number.
    """
    for name in _NUMBERS.get(launcher, ()):
        value = os.environ.get(name, '')
        if not value or not (value.isdecimal() or name == 'MASTER_ADDR'):
            raise InputError(
                f'--launcher {launcher} needs {", ".join(_NUMBERS[launcher])} '
                f'in the environment, and {name} is '
                f'{value or "missing"}; start this with the '
                f'launcher itself{_STARTERS[launcher]}, or leave --launcher '
                'out for a single process.')


def _set_rendezvous(launcher: str) -> None:
    """Translate the launcher's variables into those of torch."""
    if launcher == 'pytorch':
        return
    for target, name in zip(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
                            _NUMBERS[launcher]):
        os.environ.setdefault(target, os.environ[name])
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', '29500')
