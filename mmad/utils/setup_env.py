import atexit
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
from mmengine.registry import init_default_scope

from mmad.errors import InputError

from .arguments import check_number
from .atomic_files import register_atomic_backend
from .checkpoint import register_safe_loader
from .process_watch import ProcessWatch

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

_watch: ProcessWatch | None = None


def setup_environment(launcher: str = 'none',
                      env_cfg: Mapping[str, Any] | None = None) -> None:
    """Set up MMEngine for a tool, and let the processes find each other.

    This changes MMEngine in the whole process: its default scope becomes
    mmad, it reads every checkpoint with ``weights_only=True``, and it writes
    local files atomically. The tools call this function, and your own scripts
    may do so too. :func:`mmad.apis.init_model` does not need it.

    With a launcher, from now on this process ends when another one has died
    (see :class:`~mmad.utils.process_watch.ProcessWatch`). On a machine
    without CUDA, the process group of the gloo back end is initialized here,
    since MMEngine would need a CUDA device to do so.

    Args:
        launcher (str): ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        env_cfg (Mapping, optional): ``env_cfg`` of the config. Its
            ``dist_timeout`` are the seconds after which a process that is
            not heard of counts as dead (300), and ``dist_cfg['timeout']``
            those that a process waits for the others while they work (7200).
            Defaults to None: these values.

    Raises:
        InputError: If the launcher has not started this process, or the
            processes do not find each other within ``dist_timeout``.
    """
    global _watch
    init_default_scope('mmad')
    register_safe_loader()
    register_atomic_backend()
    if launcher == 'none' or torch.distributed.is_initialized():
        return
    check_launcher(launcher)
    silence, wait = dist_timeouts(env_cfg or {})
    _set_rendezvous(launcher)
    host = os.environ['MASTER_ADDR']
    try:
        # MMEngine's rendezvous will be a second one with the same server.
        store, rank, world_size = next(
            torch.distributed.rendezvous(
                'env://', timeout=timedelta(seconds=silence)))
        if world_size > 1:
            _watch = ProcessWatch(store, rank, world_size, host, silence)
            # Of a script that does not leave by itself.
            atexit.register(_leave_at_exit, os.getpid())
        if not torch.cuda.is_available():
            torch.distributed.init_process_group(
                'gloo',
                store=store,
                rank=rank,
                world_size=world_size,
                timeout=timedelta(seconds=wait))
    # Raised for an unknown host or a port that is in use.
    except (RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            'the processes do not find each other at '
            f'{host}:{os.environ.get("MASTER_PORT")}, or the port is taken '
            f'({" ".join(str(error).split())[:200]}); correct MASTER_ADDR '
            'and MASTER_PORT in the environment.') from error


def leave_processes(failure: str | None = None, patience: float = 0.0) -> None:
    """Leave the other processes of a distributed run, at the end of a tool.

    Without a failure this waits until all of them are here. With one, they
    end too. Without other processes, nothing happens.

    Args:
        failure (str, optional): Why this process fails. Defaults to None.
        patience (float): Seconds to wait before the others are told; see
            :meth:`~mmad.utils.process_watch.ProcessWatch.fail`. Defaults to
            0.0.
    """
    global _watch
    watch, _watch = _watch, None
    if watch is not None and failure is not None:
        watch.fail(failure, patience)
    elif watch is not None:
        watch.finish()
    if (failure is None and torch.distributed.is_available()
            and torch.distributed.is_initialized()):
        # Its threads must not outlive the interpreter.
        torch.distributed.destroy_process_group()


def _leave_at_exit(process: int) -> None:
    if os.getpid() == process and _watch is not None:
        error = getattr(sys, 'last_value', None)
        leave_processes(None if error is
                        None else f'failed: {type(error).__name__}: {error}')


def dist_timeouts(env_cfg: Mapping[str, Any]) -> tuple[float, float]:
    """Return how many seconds a process may be silent, and be waited for.

    Raises:
        InputError: If one of them is not a number above 0.
    """
    silence = env_cfg.get('dist_timeout', 300)
    wait = (env_cfg.get('dist_cfg') or {}).get('timeout', 7200)
    check_number('env_cfg.dist_timeout', silence, above=0)
    check_number('env_cfg.dist_cfg.timeout', wait, above=0)
    return float(silence), float(wait)


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
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' in os.environ:
        return
    address = _first_slurm_node() if launcher == 'slurm' else None
    if address is None and _spans_nodes(launcher):
        raise InputError(
            'the processes run on several nodes and do not know that of '
            'process 0; set MASTER_ADDR in the environment to its address '
            '(mpirun: -x MASTER_ADDR=...).')
    os.environ['MASTER_ADDR'] = address or '127.0.0.1'


def _first_slurm_node() -> str | None:
    nodes = os.environ.get('SLURM_NODELIST')
    if nodes is None or shutil.which('scontrol') is None:
        return None
    names = subprocess.run(['scontrol', 'show', 'hostnames', nodes],
                           capture_output=True,
                           text=True,
                           check=False).stdout.split()
    return names[0] if names else None


def _spans_nodes(launcher: str) -> bool:
    """Return whether a launcher says that it uses several nodes."""
    if launcher == 'slurm':
        return os.environ.get('SLURM_NNODES', '1') != '1'
    total = os.environ['OMPI_COMM_WORLD_SIZE']
    return os.environ.get('OMPI_COMM_WORLD_LOCAL_SIZE', total) != total
