"""The runs of `tools/sweep.py`: each fits and tests one model."""
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from threading import Event

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


def run_all(configs: Mapping[str, str], filename: str, table: RunTable,
            folder: Path, slots: Sequence[dict[str,
                                               str]], resume: bool) -> None:
    """Fit and test every run, with one parallel job per slot.

    If one run fails, the others continue. The table is written at the start
    and after each run.

    Args:
        configs (Mapping[str, str]): Text of the config of each run, by the
            name of the run, which is that of its folder in ``folder``.
        filename (str): Name of the config file.
        table (RunTable): The table to fill.
        folder (Path): Folder for the table and the runs.
        slots (Sequence[dict[str, str]]): See :func:`make_slots`.
        resume (bool): Take over the results of an earlier sweep.
    """
    for name, text in configs.items():
        path = folder / name / RECORD
        if not resume:
            path.unlink(missing_ok=True)
        record = json.loads(path.read_text()) if path.is_file() else {}
        if record and record['config'] != text:
            print(f'{name}: the config has changed, starting again')
        elif 'result' in record:
            print(f'{name}: finished before')
            table.results[name] = record['result']
    table.write(folder)
    free: SimpleQueue[dict[str, str]] = SimpleQueue()
    for slot in slots:
        free.put(slot)

    def run(name: str) -> dict:
        slot = free.get()
        try:
            gpu = slot.get('CUDA_VISIBLE_DEVICES')
            print(f'{name}: started{f" on GPU {gpu}" if gpu else ""}')
            result = fit_and_test(folder / name, filename, configs[name], slot)
            print(f'{name}: {list_figures(result)}')
            return result
        except RunError as error:
            print(f'{name}: FAILED, {error} (log: {folder / name}/sweep.log)')
            raise
        finally:
            free.put(slot)

    interrupted.clear()
    with ThreadPoolExecutor(len(slots)) as pool:
        jobs = {
            pool.submit(run, name): name
            for name in configs if name not in table.results
        }
        try:
            for job in track(
                    as_completed(jobs),
                    'Runs',
                    len(jobs),
                    disable=not sys.stdout.isatty(),
                    transient=True):
                try:
                    table.results[jobs[job]] = job.result()
                except RunError as error:
                    table.failures[jobs[job]] = str(error)
                table.write(folder)
        finally:
            interrupted.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(processes):
                process.kill()


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
