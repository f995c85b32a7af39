"""Runs of `tools/sweep.py` as jobs of a cluster, by submitit."""
import argparse
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweep_runs import (
    TOOLS,
    Run,
    RunError,
    outcome_of,
    processes,
    say_outcome,
)

from mmad.errors import InputError
from mmad.utils.command_line import check_at_least

# Options that say what each job gets, with their defaults.
_RESOURCES = dict(partition=None, gpus_per_run=1, cpus_per_run=4, hours=24)


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a sweep on a cluster."""
    group = parser.add_argument_group('on a cluster')
    group.add_argument(
        '--cluster',
        choices=('slurm', 'local'),
        help='submit the runs as one array of jobs, by submitit; local: to '
        'processes on this machine, to try it')
    group.add_argument('--partition', help='partition of the jobs')
    group.add_argument(
        '--gpus-per-run', type=int, metavar='N', help='GPUs (default: 1)')
    group.add_argument(
        '--cpus-per-run', type=int, metavar='N', help='cores (default: 4)')
    group.add_argument(
        '--hours',
        type=int,
        metavar='N',
        help='time after which a run is ended (default: 24)')


def check_cluster_arguments(args: argparse.Namespace) -> None:
    """Check the options of a sweep on a cluster.

    Raises:
        InputError: One is out of range, or given without ``--cluster``.
    """
    for name, default in _RESOURCES.items():
        value = getattr(args, name)
        option = f'--{name.replace("_", "-")}'
        if value is None:
            setattr(args, name, default)
        elif args.cluster is None:
            raise InputError(f'{option} is for runs on a cluster; give '
                             '--cluster too, or leave it out.')
        elif name != 'partition':
            check_at_least(option, value, 0 if name == 'gpus_per_run' else 1)


def make_executor(args: argparse.Namespace, folder: Path) -> Any:
    """Make the executor of submitit that submits the jobs.

    Args:
        args (argparse.Namespace): Options of :func:`add_cluster_arguments`,
            and ``jobs``, the number of jobs at the same time.
        folder (Path): Folder for what submitit writes.

    Raises:
        InputError: submitit or Slurm is missing.
    """
    try:
        import submitit
    except ImportError:
        raise InputError('--cluster needs the package submitit; install it '
                         'with pip install submitit.') from None
    try:
        executor = submitit.AutoExecutor(folder, cluster=args.cluster)
    except RuntimeError as error:
        raise InputError(
            f'--cluster {args.cluster} does not work here ({error}); start '
            'the sweep where sbatch can be called.') from error
    executor.update_parameters(
        name='sweep',
        timeout_min=60 * args.hours,
        cpus_per_task=args.cpus_per_run,
        gpus_per_node=args.gpus_per_run)
    if args.cluster == 'slurm':
        if args.partition:
            executor.update_parameters(slurm_partition=args.partition)
        if args.jobs:
            executor.update_parameters(slurm_array_parallelism=args.jobs)
    return executor


def run_on_cluster(
        executor: Any,
        runs: Mapping[str, Run]) -> Iterator[tuple[str, dict | RunError]]:
    """Carry out runs as jobs, and cancel them if this is interrupted.

    Args:
        executor (Executor): See :func:`make_executor`.
        runs (Mapping[str, Run]): The runs, by their names.

    Yields:
        tuple[str, dict | RunError]: The name of a run and its outcome.
    """
    if not runs:
        return
    from submitit.core.utils import UncompletedJobError
    from submitit.helpers import as_completed

    # A job imports this module.
    os.environ['PYTHONPATH'] = os.pathsep.join(
        filter(None, [str(TOOLS), os.environ.get('PYTHONPATH')]))
    absolute = [
        run._replace(folder=run.folder.absolute()) for run in runs.values()
    ]
    jobs = executor.map_array(run_in_job, absolute)
    names = {job.job_id: name for job, name in zip(jobs, runs)}
    for job in jobs:
        print(f'{names[job.job_id]}: submitted as job {job.job_id}')
    try:
        for job in as_completed(jobs, poll_frequency=2):
            name = names[job.job_id]
            try:
                outcome = job.result()
            except UncompletedJobError:
                # Ended from outside, so what is known is in its own log.
                outcome = RunError(f'job {job.job_id} ended without a result '
                                   f'({job.state}; see {job.paths.stderr}).')
            say_outcome(name, runs[name], outcome)
            yield name, outcome
    finally:
        for job in jobs:
            if not job.done():
                job.cancel(check=False)


def run_in_job(run: Run) -> dict | RunError:
    """Carry out a run inside of a job, with all that the job has."""
    try:
        return outcome_of(run, {})
    finally:
        for process in list(processes):
            process.kill()
