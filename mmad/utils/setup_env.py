import os

import torch
from mmengine.registry import init_default_scope

from mmad.errors import InputError

from .atomic_files import register_atomic_backend
from .checkpoint import register_safe_loader


def setup_environment(launcher: str = 'none') -> None:
    """Prepare the process: scope, safe checkpoints, process group.

    MMEngine sets a CUDA device whatever the back end, so on a machine
    without one the gloo group is made here, before its runner.

    Args:
        launcher (str): ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
    """
    init_default_scope('mmad')
    register_safe_loader()
    register_atomic_backend()
    if launcher == 'none' or torch.distributed.is_initialized():
        return
    if not torch.cuda.is_available():
        _set_rendezvous(launcher)
        torch.distributed.init_process_group('gloo')


def _set_rendezvous(launcher: str) -> None:
    """Translate the launcher's variables into those of torch."""
    names = dict(
        slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
        mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE',
             'OMPI_COMM_WORLD_LOCAL_RANK')).get(launcher)
    if names is not None:
        if any(name not in os.environ for name in names):
            raise InputError(
                f'--launcher {launcher} needs {", ".join(names)} in the '
                'environment; start this with the launcher itself.')
        for target, name in zip(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), names):
            os.environ.setdefault(target, os.environ[name])
        os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
        os.environ.setdefault('MASTER_PORT', '29500')
