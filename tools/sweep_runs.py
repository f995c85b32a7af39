"""The runs of `tools/sweep.py`: each fits and tests one model."""
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import NamedTuple

import torch
from rich.progress import track
from sweep_text import RunTable, list_figures

from mmad.utils import write_atomically
from mmad.utils.checkpoint import latest_checkpoint

TOOLS = Path(__file__).resolve().parent
RECORD = 'sweep_record.json'
processes: set[subprocess.Popen] = set()
interrupted = Event()


class RunError(Exception):
    """Raised when a run fails, with the last line of its log."""


def make_slots(jobs: int | None, runs: int) -> list[dict[str, str]]:
    """Return the environment variables of each job that runs in parallel.

    They assign a GPU and a share of the CPU cores to the job.
    """
    count = torch.cuda.device_count()
    gpus = os.environ.get('CUDA_VISIBLE_DEVICES',
                          ','.join(map(str, range(count)))).split(',')
    jobs = min(jobs or count or 1, runs)
    slots: list[dict[str, str]] = [{} for _ in range(jobs)]
    for index, slot in enumerate(slots):
        if count:
            slot['CUDA_VISIBLE_DEVICES'] = gpus[index % count].strip()
        if jobs > 1 and 'OMP_NUM_THREADS' not in os.environ:
            slot['OMP_NUM_THREADS'] = str(
                max(1,
                    torch.get_num_threads() // jobs))
    return slots


class Run(NamedTuple):
    """What it takes to run :func:`fit_and_test`, except for the slot."""

    folder: Path
    filename: str
    config: str


# Carries out runs, by their names, and yields the outcomes as they come.
Execute = Callable[[Mapping[str, Run]], Iterator[tuple[str, dict | RunError]]]


def run_all(runs: Mapping[str, Run], table: RunTable, folder: Path,
            execute: Execute, resume: bool) -> None:
    """Fit and test every run.

    If one run fails, the others continue. The table is written at the start
    and after each run.

    Args:
        runs (Mapping[str, Run]): The runs, by their names.
        table (RunTable): The table to fill.
        folder (Path): Folder for the table.
        execute (Execute): :func:`run_here` with its slots, or what runs them
            elsewhere.
        resume (bool): Take over the results of an earlier sweep.
    """
    for name, run in runs.items():
        path = run.folder / RECORD
        if not resume:
            path.unlink(missing_ok=True)
        record = json.loads(path.read_text()) if path.is_file() else {}
        if record and record['config'] != run.config:
            print(f'{name}: the config has changed, starting again')
        elif 'result' in record:
            print(f'{name}: finished before')
            table.results[name] = record['result']
    table.write(folder)
    left = {name: runs[name] for name in runs if name not in table.results}
    with closing(execute(left)) as outcomes:
        for name, outcome in track(
                outcomes,
                'Runs',
                len(left),
                disable=not sys.stdout.isatty(),
                transient=True):
            if isinstance(outcome, RunError):
                table.failures[name] = str(outcome)
            else:
                table.results[name] = outcome
            table.write(folder)


def run_here(slots: Sequence[dict[str, str]],
             runs: Mapping[str, Run]) -> Iterator[tuple[str, dict | RunError]]:
    """Carry out runs on this machine, with one parallel job per slot.

    Args:
        slots (Sequence[dict[str, str]]): See :func:`make_slots`.
        runs (Mapping[str, Run]): The runs, by their names.

    Yields:
        tuple[str, dict | RunError]: The name of a run and its outcome.
    """
    free: SimpleQueue[dict[str, str]] = SimpleQueue()
    for slot in slots:
        free.put(slot)

    def run_one(name: str) -> dict | RunError:
        slot = free.get()
        try:
            gpu = slot.get('CUDA_VISIBLE_DEVICES')
            print(f'{name}: started{f" on GPU {gpu}" if gpu else ""}')
            outcome = outcome_of(runs[name], slot)
            say_outcome(name, runs[name], outcome)
            return outcome
        finally:
            free.put(slot)

    interrupted.clear()
    with ThreadPoolExecutor(len(slots)) as pool:
        jobs = {pool.submit(run_one, name): name for name in runs}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        finally:
            interrupted.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(processes):
                process.kill()


def outcome_of(run: Run, slot: dict[str, str]) -> dict | RunError:
    """Return the result of a run, or why it failed."""
    try:
        return fit_and_test(*run, slot)
    except RunError as error:
        return error


def say_outcome(name: str, run: Run, outcome: dict | RunError) -> None:
    """Print one line about a finished run."""
    if isinstance(outcome, RunError):
        print(f'{name}: FAILED, {outcome} (log: {run.folder}/sweep.log)')
    else:
        print(f'{name}: {list_figures(outcome)}')


def fit_and_test(folder: Path, filename: str, config: str,
                 slot: dict[str, str]) -> dict:
    """Fit and test one model, and return its result.

    The finished steps are recorded in a file, for ``--resume``.

    Raises:
        RunError: If the fit or the test failed.
    """
    path = folder / RECORD
    # In its own folder, since the runner also writes a file of this name.
    config_file = folder / 'sweep_config' / filename
    record = json.loads(path.read_text()) if path.is_file() else {}

    def save(**entries: object) -> None:
        record.update(entries)
        write_atomically(path, json.dumps(record, indent=2).encode())

    if record.get('config') != config:
        # Checkpoints are kept, but the fit does not continue from them.
        for name in (RECORD, 'metrics.json', 'last_checkpoint', 'sweep.log'):
            (folder / name).unlink(missing_ok=True)
        record = {}
        write_atomically(config_file, config.encode())
        save(config=config)
    begun = latest_checkpoint(folder)
    if 'fit_seconds' not in record or begun is None:
        record = {}
        save(config=config)
        seconds = start(folder, slot, 'train.py', config_file, '--no-validate',
                        *['--resume'] * (begun is not None))
        if latest_checkpoint(folder) is None:
            raise RunError('the fit wrote no checkpoint; the config '
                           'needs `default_hooks.checkpoint`.')
        # For a resumed fit, the time before the checkpoint is not known.
        save(fit_seconds=None if begun else seconds)
    metrics_file = folder / 'metrics.json'
    metrics_file.unlink(missing_ok=True)
    seconds = start(folder, slot, 'test.py', config_file,
                    latest_checkpoint(folder))
    if not metrics_file.is_file():
        raise RunError('the test wrote no metrics.json; the config '
                       'needs `default_hooks.report`.')
    metrics = json.loads(metrics_file.read_text())
    metrics.pop('per_defect_type', None)
    save(
        result=dict(
            conditions=metrics.pop('conditions', {}),
            metrics=metrics,
            fit_seconds=record['fit_seconds'],
            test_seconds=seconds))
    return record['result']


def start(folder: Path, slot: dict[str, str], tool: str, *args:
          object) -> float:
    """Run a tool with its output in ``sweep.log``, and return its seconds."""
    command = [
        sys.executable,
        str(TOOLS / tool), *map(str, args), '--work-dir',
        str(folder)
    ]
    log, begin = folder / 'sweep.log', time.monotonic()
    with log.open('a') as file:
        file.write(f'$ {shlex.join(command)}\n')
        file.flush()
        # Unbuffered, so that the log is up to date and errors come last.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={
                **os.environ, 'PYTHONUNBUFFERED': '1',
                **slot
            })
    processes.add(process)
    if interrupted.is_set():
        process.kill()
    status = process.wait()
    processes.discard(process)
    if status < 0:
        name = signal.Signals(-status).name
        reason = ', often for lack of memory' if name == 'SIGKILL' else ''
        raise RunError(f'ended by {name}{reason}.')
    if status:
        lines = log.read_text(errors='replace').split('\n')
        last = [line.strip() for line in lines if line.strip()][-1]
        raise RunError(last.removeprefix('error: '))
    return round(time.monotonic() - begin, 2)
