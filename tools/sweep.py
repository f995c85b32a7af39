"""Fit and test every category of a data set, and write a table of all."""
import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from threading import Event

from mmad.interrupt import INTERRUPT_STATUS, exit_quietly_on_interrupt

exit_quietly_on_interrupt()

import torch
from mmengine.config import Config
from rich.progress import track

from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.utils import write_atomically
from mmad.utils.checkpoint import latest_checkpoint
from mmad.utils.command_line import (
    add_config_arguments,
    add_weights_argument,
    check_at_least,
    load_config,
    one_sentence_errors,
)
from mmad.utils.config_check import check_config
from mmad.utils.config_parts import find_type
from mmad.utils.path_checks import check_category, check_files, check_folder

TOOLS = Path(__file__).resolve().parent
sys.path.insert(0, str(TOOLS))

from sweep_table import SweepTable, list_figures

RECORD = 'sweep_record.json'
processes: set[subprocess.Popen] = set()
interrupted = Event()


class CategoryError(Exception):
    """Raised when a category fails, with the last line of its log."""


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='config file, or the name of one of mmad')
    add_config_arguments(parser)
    add_weights_argument(parser)
    parser.add_argument(
        '--categories',
        nargs='+',
        metavar='NAME',
        help='categories to run (default: all of the data set)')
    parser.add_argument(
        '--work-dir',
        help='folder for the table, and for a folder per category '
        '(default: work_dirs/CONFIG, with --data work_dirs/CONFIG_on_DATA)')
    parser.add_argument(
        '--jobs',
        type=int,
        help='number of categories to run at the same time (default: one per '
        'GPU, or 1 without a GPU)')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='continue, and skip categories that are finished with the same '
        'config')
    args = parser.parse_args()
    if args.jobs is not None:
        check_at_least('--jobs', args.jobs, 1)
    if args.work_dir is not None:
        check_folder(args.work_dir, '--work-dir')
    # Check before anything takes long; the parts are the same for all
    # categories.
    cfg = load_config(argparse.Namespace(**vars(args), category=None))
    check_config(cfg, ['train', 'test'])
    check_files(cfg)
    table = make_table(cfg, args.categories)
    folder = Path(
        args.work_dir or cfg.get('work_dir') or Path('work_dirs',
                                                     Path(cfg.filename).stem))
    configs = {}
    for name in table.categories:
        check_folder(folder / name, '--work-dir')
        configs[name] = load_config(
            argparse.Namespace(**vars(args), category=name)).pretty_text
    # Treat it as Ctrl-C, so that the started processes end with this one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_all(configs,
                Path(cfg.filename).name, table, folder,
                make_slots(args.jobs, len(configs)), args.resume)
    except KeyboardInterrupt:
        print(f'Interrupted; finished categories are in {folder}/sweep.md. '
              'Use --resume to continue.')
        sys.exit(INTERRUPT_STATUS)
    print(f'\n{table.to_markdown()}\nThis table is in {folder}/sweep.md and '
          'sweep.json.')
    if table.failures:
        print(f'Failed: {", ".join(table.failures)}. Correct the cause and '
              'run again with --resume.')
        sys.exit(1)


def make_table(cfg: Config, chosen: Sequence[str] | None) -> SweepTable:
    """Make an empty table of the chosen categories, or of all categories."""
    dataset = cfg.test_dataloader.dataset
    kind = find_type('test_dataloader.dataset', dataset, DATASETS)
    if 'category' not in dataset:
        raise InputError(
            f'the {kind.__name__} of this config has no `category`, so there '
            'are no categories to run; use tools/train.py.')
    known = getattr(kind, 'CATEGORIES', ())
    for name in chosen or ():
        check_category(name)
        if known and name not in known:
            raise InputError(f'{kind.__name__} has no category "{name}"; it '
                             f'has {", ".join(known)}.')
    folders = Path(dataset.data_root).expanduser().glob('*/train/good')
    chosen = list(
        dict.fromkeys(
            chosen or known
            or sorted(path.parent.parent.name for path in folders)))
    if not chosen:
        raise InputError(
            f'there is no CATEGORY/train/good in "{dataset.data_root}"; name '
            'the folder with --data-root, or a category with --categories.')
    groups = {
        name.lower(): getattr(kind, name)
        for name in ('TEXTURES', 'OBJECTS') if hasattr(kind, name)
    }
    return SweepTable(Path(cfg.filename).stem, chosen, known or chosen, groups)


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


def run_all(configs: dict[str, str], filename: str, table: SweepTable,
            folder: Path, slots: Sequence[dict[str,
                                               str]], resume: bool) -> None:
    """Fit and test the categories, with one parallel job per slot.

    If one category fails, the others continue. The table is written at the
    start and after each category.
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
        except CategoryError as error:
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
                    'Categories',
                    len(jobs),
                    disable=not sys.stdout.isatty(),
                    transient=True):
                try:
                    table.results[jobs[job]] = job.result()
                except CategoryError as error:
                    table.failures[jobs[job]] = str(error)
                table.write(folder)
        finally:
            interrupted.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(processes):
                process.kill()


def fit_and_test(folder: Path, filename: str, config: str,
                 slot: dict[str, str]) -> dict:
    """Fit and test one category, and return its result.

    The finished steps are recorded in a file, for ``--resume``.

    Raises:
        CategoryError: If the fit or the test failed.
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
            raise CategoryError('the fit wrote no checkpoint; the config '
                                'needs `default_hooks.checkpoint`.')
        # For a resumed fit, the time before the checkpoint is not known.
        save(fit_seconds=None if begun else seconds)
    metrics_file = folder / 'metrics.json'
    metrics_file.unlink(missing_ok=True)
    seconds = start(folder, slot, 'test.py', config_file,
                    latest_checkpoint(folder))
    if not metrics_file.is_file():
        raise CategoryError('the test wrote no metrics.json; the config '
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
        raise CategoryError(f'ended by {name}{reason}.')
    if status:
        lines = log.read_text(errors='replace').split('\n')
        last = [line.strip() for line in lines if line.strip()][-1]
        raise CategoryError(last.removeprefix('error: '))
    return round(time.monotonic() - begin, 2)


if __name__ == '__main__':
    main()
