"""Fit and test every category of a data set, and write a table of all."""
import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from mmad.interrupt import INTERRUPT_STATUS, exit_quietly_on_interrupt

exit_quietly_on_interrupt()

from mmengine.config import Config

from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.utils.command_line import (
    add_config_arguments,
    add_weights_argument,
    check_at_least,
    load_config,
    one_sentence_errors,
)
from mmad.utils.config_check import check_config
from mmad.utils.config_parts import find_type, type_name
from mmad.utils.path_checks import check_category, check_files, check_folder

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sweep_cluster import (
    add_cluster_arguments,
    check_cluster_arguments,
    make_executor,
    run_on_cluster,
)
from sweep_published import KINDS, require_published
from sweep_runs import Run, make_slots, run_all, run_here
from sweep_shots import ShotTable, count_images, draw_images
from sweep_table import SweepTable
from sweep_text import RunTable


@one_sentence_errors
def main() -> None:
    args = parse_args()
    # Check before anything takes long; the parts are the same for all
    # categories.
    cfg = load_config(argparse.Namespace(**vars(args), category=None))
    check_config(cfg, ['train', 'test'])
    check_files(cfg)
    categories, whole = find_categories(cfg, args.categories)
    table = make_table(cfg, args, list(categories), whole)
    folder = Path(
        args.work_dir or cfg.get('work_dir') or Path('work_dirs', table.title))
    configs = make_configs(table, args, categories)
    for name in configs:
        check_folder(folder / name, '--work-dir')
    filename = Path(cfg.filename).name
    runs = {
        name: Run(folder / name, filename, text)
        for name, text in configs.items()
    }
    execute = partial(run_here, make_slots(args.jobs, len(configs)))
    if args.cluster:
        execute = partial(run_on_cluster, make_executor(args, folder / 'jobs'))
    # Treat it as Ctrl-C, so that the started processes end with this one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_all(runs, table, folder, execute, args.resume)
    except KeyboardInterrupt:
        print(f'Interrupted; what is finished is in {folder}/{table.NAME}.md. '
              'Use --resume to continue.')
        sys.exit(INTERRUPT_STATUS)
    print(f'\n{table.to_markdown()}\nThis table is in '
          f'{folder}/{table.NAME}.md and {table.NAME}.json.')
    if table.failures:
        print(f'Failed: {", ".join(table.failures)}. Correct the cause and '
              'run again with --resume.')
        sys.exit(1)


def parse_args() -> argparse.Namespace:
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
        '--shots',
        nargs='+',
        type=int,
        default=[],
        metavar='N',
        help='fit to this many training images, drawn at random (default: '
        'to all)')
    parser.add_argument(
        '--seeds', type=int, help='number of draws for --shots (default: 5)')
    parser.add_argument(
        '--against',
        choices=KINDS,
        help='show published results beside ours: those of the paper, or '
        'those that public code reaches')
    parser.add_argument(
        '--work-dir',
        help='folder for the table, and for a folder per category '
        '(default: work_dirs/CONFIG, with --data work_dirs/CONFIG_on_DATA)')
    parser.add_argument(
        '--jobs',
        type=int,
        help='number of runs at the same time (default: one per GPU, or 1 '
        'without a GPU; on a cluster: all)')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='continue, and skip what is finished with the same config')
    add_cluster_arguments(parser)
    args = parser.parse_args()
    if args.jobs is not None:
        check_at_least('--jobs', args.jobs, 1)
    check_cluster_arguments(args)
    for number in args.shots:
        check_at_least('--shots', number, 1)
    if args.seeds is not None:
        check_at_least('--seeds', args.seeds, 1)
        if not args.shots:
            raise InputError('--seeds is the number of draws for --shots; '
                             'give both, or leave it out.')
    if args.work_dir is not None:
        check_folder(args.work_dir, '--work-dir')
    return args


def find_categories(
    cfg: Config, chosen: Sequence[str] | None
) -> tuple[dict[str, str | None], Sequence[str]]:
    """Find the categories to run, and all of the data set.

    Returns:
        tuple[dict[str, str | None], Sequence[str]]: By name of the row, the
        category; None for a data set without categories, which is one row of
        its own name. And the names of all rows of the whole data set.
    """
    dataset = cfg.test_dataloader.dataset
    kind = find_type('test_dataloader.dataset', dataset, DATASETS)
    known = getattr(kind, 'CATEGORIES', ())
    for name in chosen or ():
        check_category(name)
        if known and name not in known:
            raise InputError(f'{kind.__name__} has no category "{name}"; it '
                             f'has {", ".join(known)}.')
    if 'category' not in dataset and chosen:
        raise InputError(f'the {kind.__name__} of this config has no '
                         '`category`; leave out --categories.')
    folders = Path(dataset.get('data_root', '')).expanduser()
    found = chosen or known or sorted(
        path.parent.parent.name
        for path in folders.glob('*/train/good') if 'category' in dataset)
    if found:
        return {name: name for name in found}, known or found
    if dataset.get('category') is None:
        return {type_name(kind): None}, [type_name(kind)]
    raise InputError(
        f'there is no CATEGORY/train/good in "{dataset.data_root}"; name '
        'the folder with --data-root, or a category with --categories.')


def make_table(cfg: Config, args: argparse.Namespace,
               categories: Sequence[str], whole: Sequence[str]) -> RunTable:
    """Make the empty table.

    Raises:
        InputError: If there are no published results to show in it.
    """
    title = Path(cfg.filename).stem
    published = require_published(args.against, cfg,
                                  args.shots) if args.against else {}
    if args.shots:
        shots = sorted(set(args.shots))
        return ShotTable(title, categories, whole, shots, args.seeds or 5,
                         published)
    dataset = cfg.test_dataloader.dataset
    kind = find_type('test_dataloader.dataset', dataset, DATASETS)
    groups = {
        name.lower(): getattr(kind, name)
        for name in ('TEXTURES', 'OBJECTS') if hasattr(kind, name)
    }
    return SweepTable(title, categories, whole, groups, published.get(None))


def make_configs(table: RunTable, args: argparse.Namespace,
                 categories: Mapping[str, str | None]) -> dict[str, str]:
    """Return the text of the config of each run, by the name of the run.

    Raises:
        InputError: If there are not as many training images as requested.
    """
    texts = {}
    for name, category in categories.items():
        cfg = load_config(argparse.Namespace(**vars(args), category=category))
        if not isinstance(table, ShotTable):
            texts[name] = cfg.pretty_text
            continue
        number = count_images(cfg)
        if table.shots[-1] > number:
            raise InputError(f'--shots {table.shots[-1]}: {name} has only '
                             f'{number} training images; ask for fewer.')
        for of, shots, seed, run in table.runs():
            if of == name:
                cfg.train_dataloader.dataset.indices = draw_images(
                    number, shots, seed)
                texts[run] = cfg.pretty_text
    return texts


if __name__ == '__main__':
    main()
