"""Fit or train a detector, validate it and write a checkpoint."""
import argparse
import json
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmad.interrupt import exit_quietly_on_interrupt

exit_quietly_on_interrupt()

from mmad.command_options import add_run_arguments
from mmad.terminal import (
    open_terminal,
    say,
    say_config,
    shown_path,
    tool_command,
)

if TYPE_CHECKING:
    from mmengine.dataset import BaseDataset

    from mmad.engine import ToolRunner


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='config file, or the name of one of mmad')
    add_run_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from this checkpoint, or without one from the latest '
        'checkpoint of the work dir or the notes of an interrupted fit')
    parser.add_argument(
        '--amp', action='store_true', help='train with mixed precision')
    parser.add_argument(
        '--no-validate', action='store_true', help='train without validation')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Imported here and in `train`, so that --help is quick.
    open_terminal(args.launcher, args.verbose)
    from mmad.utils.command_line import one_sentence_errors

    one_sentence_errors(partial(train, args))()


def train(args: argparse.Namespace) -> None:
    from mmad.engine import ToolRunner, refuse_unsupported
    from mmad.utils.checkpoint import latest_checkpoint
    from mmad.utils.command_line import (
        check_before_run,
        check_data,
        check_optimizer,
        enable_amp,
        finish_config,
        load_config,
    )
    from mmad.utils.config_parts import type_name
    from mmad.utils.same_files import check_same_files
    from mmad.utils.setup_env import setup_environment

    cfg = load_config(args)
    finish_config(cfg, args)
    if args.amp:
        enable_amp(cfg)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.resume is not None:
        auto = args.resume == 'auto'
        cfg.load_from = latest_checkpoint(
            cfg.work_dir) if auto else args.resume
        cfg.resume = True
    check_before_run(cfg, ['train'], cfg.load_from if args.resume else None)
    refuse_unsupported(cfg)
    say_config(args.config, args.data)
    say('Method', type_name(cfg.model.type))
    data = check_data(cfg, ['train_dataloader', 'val_dataloader'])
    setup_environment(args.launcher, cfg.get('env_cfg'))
    runner = ToolRunner.from_cfg(cfg)
    check_same_files(data, {
        'the checkpoint': cfg.load_from,
        'the file of --weights': args.weights
    })
    runner.say_output_paths()
    write_held_out(runner.work_dir, data['train_dataloader'])
    if args.resume is not None:
        notes = Path(runner.work_dir, 'fit_progress')
        start = shown_path(notes) if notes.exists() else 'the start'
        say('Resumed from', cfg.load_from or f'{start}: no checkpoint yet')
    check_optimizer(runner)
    runner.train()
    say_results(runner, latest_checkpoint(runner.work_dir))


def write_held_out(work_dir: str, dataset: 'BaseDataset') -> None:
    """Write which images a data set of own folders keeps for testing."""
    from mmengine.dist import is_main_process

    from mmad.utils import write_atomically
    from mmad.utils.inner_datasets import inner_datasets

    paths = [
        str(path) for part in inner_datasets(dataset)
        for path in getattr(part, 'held_out', [])
    ]
    if paths and is_main_process():
        file = Path(work_dir, 'held_out.json')
        write_atomically(file, (json.dumps(paths, indent=2) + '\n').encode())
        say('Held out for testing', f'{len(paths)} images, in '
            f'{shown_path(file)}')


def say_results(runner: 'ToolRunner', checkpoint: str | None) -> None:
    """Log the written files and the command that tests the checkpoint."""
    if checkpoint is None:
        return
    say('Checkpoint', shown_path(checkpoint))
    if runner.val_loop is not None:
        runner.say_metrics_path()
    if runner.cfg.get('test_dataloader') is not None:
        maps = shown_path(Path(runner.work_dir, 'heat_maps'))
        say(
            'Next',
            shlex.join([
                *tool_command('test'),
                shown_path(runner.config_path),
                shown_path(checkpoint), '--show-dir', maps
            ]))


if __name__ == '__main__':
    main()
