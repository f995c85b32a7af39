"""Fit and test every category of a data set, and write one table of all."""
import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from mmad.interrupt import watch_imports

watch_imports()

import torch
from mmengine.config import Config

from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.utils.category_run import CategoryRun
from mmad.utils.command_line import (
    add_config_arguments,
    add_weights_argument,
    at_least,
    load_config,
    one_sentence_errors,
)
from mmad.utils.config_check import check_config
from mmad.utils.places import check_category, check_files, check_folder
from mmad.utils.sweep import Sweep
from mmad.utils.sweep_table import SweepTable

TOOLS = Path(__file__).resolve().parent


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_config_arguments(parser)
    add_weights_argument(parser)
    parser.add_argument(
        '--categories',
        nargs='+',
        metavar='NAME',
        help='categories to go through (default: all of the data set)')
    parser.add_argument(
        '--work-dir',
        help='folder for the table and a folder per category (default: '
        'work_dirs/CONFIG)')
    parser.add_argument(
        '--jobs',
        type=int,
        help='categories at the same time (default: one per GPU, else 1)')
    parser.add_argument(
        '--gpus',
        nargs='+',
        metavar='ID',
        help='GPUs to share out, as in CUDA_VISIBLE_DEVICES (default: all)')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='leave out what is finished with the same config, and go on')
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    if args.jobs is not None:
        at_least('--jobs', args.jobs, 1)
    if args.work_dir is not None:
        check_folder(args.work_dir, '--work-dir')
    # Before what may take long; all categories have the same parts.
    cfg = load_config(argparse.Namespace(**vars(args), category=None))
    check_config(cfg, ['train', 'test'])
    check_files(cfg)
    gpus = find_gpus(args.gpus)
    table = make_table(cfg, args.categories)
    work_dir = Path(
        args.work_dir or cfg.get('work_dir')
        or Path('work_dirs', Path(args.config).stem))
    for category in table.categories:
        check_folder(work_dir / category, '--work-dir')
    runs = [
        CategoryRun(
            category,
            load_config(argparse.Namespace(**vars(args), category=category)),
            work_dir / category, TOOLS) for category in table.categories
    ]
    slots = make_slots(args.jobs, gpus, len(runs))
    # As Ctrl-C, so that the processes started here end with this one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Sweep(runs, table, work_dir).run(slots, args.resume)
    except KeyboardInterrupt:
        print(f'Interrupted; what is finished is in {work_dir}/sweep.md, and '
              '--resume goes on from there.')
        sys.exit(128 + signal.SIGINT)
    print(f'\n{table.to_markdown()}\nThis table is in {work_dir}/sweep.md, '
          '.csv and .json.')
    if table.failures:
        print(f'Failed: {", ".join(table.failures)}. Repair and add --resume.')
        sys.exit(1)


def make_table(cfg: Config, chosen: Sequence[str] | None) -> SweepTable:
    """An empty table of the categories chosen, or of all there are."""
    dataset = cfg.test_dataloader.dataset
    for name in chosen or ():
        check_category(name)
    if 'category' not in dataset:
        raise InputError(
            f'the {dataset.type} of this config has no `category`, so there '
            'is nothing to go through; use tools/train.py.')
    kind = DATASETS.get(dataset.type)
    known = getattr(kind, 'CATEGORIES', ())
    unknown = [name for name in chosen or () if known and name not in known]
    if unknown:
        raise InputError(f'{dataset.type} has no category "{unknown[0]}"; it '
                         f'has {", ".join(known)}.')
    chosen = list(
        dict.fromkeys(chosen or known or find_folders(dataset.data_root)))
    groups = {
        name.lower(): getattr(kind, name)
        for name in ('TEXTURES', 'OBJECTS') if hasattr(kind, name)
    }
    return SweepTable(
        Path(cfg.filename).stem, chosen, known or chosen, groups)


def find_folders(root: str) -> list[str]:
    """Names of the folders in ``root`` that are laid out as categories."""
    folders = Path(root).expanduser().glob('*/train/good')
    names = sorted(folder.parent.parent.name for folder in folders)
    if not names:
        raise InputError(
            f'there is no CATEGORY/train/good in "{root}"; name the place '
            'with --data-root, or a category with --categories.')
    return names


def find_gpus(chosen: Sequence[str] | None) -> list[str]:
    """IDs of the GPUs chosen, or of all that are visible."""
    count = torch.cuda.device_count()
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    names = (
        map(str, range(count)) if visible is None else visible.split(','))
    gpus = [name.strip() for name in names][:count]
    if chosen is None:
        return gpus
    chosen = ','.join(chosen).split(',')
    for name in chosen:
        if name not in gpus:
            raise InputError(f'--gpus: there is no GPU "{name}"; visible '
                             f'are: {", ".join(gpus) or "none"}.')
    return chosen


def make_slots(jobs: int | None, gpus: Sequence[str],
               runs: int) -> list[dict[str, str]]:
    """Variables for each of the jobs at the same time: its GPU and share of
    the cores."""
    jobs = min(jobs or len(gpus) or 1, runs)
    slots: list[dict[str, str]] = [{} for _ in range(jobs)]
    for index, slot in enumerate(slots):
        if gpus:
            slot['CUDA_VISIBLE_DEVICES'] = gpus[index % len(gpus)]
        if jobs > 1 and 'OMP_NUM_THREADS' not in os.environ:
            slot['OMP_NUM_THREADS'] = str(
                max(1, torch.get_num_threads() // jobs))
    return slots


if __name__ == '__main__':
    main()
