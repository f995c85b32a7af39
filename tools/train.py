"""Fit or train a detector, validate it and write a checkpoint."""
import argparse
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmad.interrupt import watch_imports

watch_imports()

from mmad.command_options import add_run_arguments
from mmad.terminal import open_terminal, say, shown_path

if TYPE_CHECKING:
    from mmad.engine import ToolRunner


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_run_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint, or from the latest of the work dir')
    parser.add_argument(
        '--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--no-validate', action='store_true', help='do not validate')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Imported late, as in `train`, for a quick --help.
    open_terminal(args.launcher, args.verbose)
    from mmad.utils.command_line import one_sentence_errors

    one_sentence_errors(partial(train, args))()


def train(args: argparse.Namespace) -> None:
    from mmad.engine import ToolRunner, refuse_unsupported
    from mmad.utils.checkpoint import latest_checkpoint
    from mmad.utils.command_line import (
        check_beforehand,
        check_data,
        check_optimizer,
        finish_config,
        guard_amp,
        load_config,
    )
    from mmad.utils.config_parts import type_name
    from mmad.utils.setup_env import setup_environment

    cfg = load_config(args)
    finish_config(cfg, args)
    if args.amp:
        guard_amp(cfg)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.resume is not None:
        auto = args.resume == 'auto'
        cfg.load_from = latest_checkpoint(
            cfg.work_dir) if auto else args.resume
        cfg.resume = True
    check_beforehand(cfg, ['train'], cfg.load_from if args.resume else None)
    refuse_unsupported(cfg)
    say('Config', args.config)
    say('Method', type_name(cfg.model.type))
    check_data(cfg, ['train_dataloader', 'val_dataloader'])
    setup_environment(args.launcher)
    runner = ToolRunner.from_cfg(cfg)
    runner.say_places()
    if args.resume is not None:
        say('Resumed from', cfg.load_from or 'the start: no checkpoint yet')
    check_optimizer(runner)
    runner.train()
    say_results(runner, latest_checkpoint(runner.work_dir))


def say_results(runner: 'ToolRunner', checkpoint: str | None) -> None:
    """Name what was written and the command that goes on from there."""
    if checkpoint is None:
        return
    say('Checkpoint', shown_path(checkpoint))
    if runner.val_loop is not None:
        runner.say_metrics()
    if runner.cfg.get('test_dataloader') is not None:
        maps = shown_path(Path(runner.work_dir, 'heat_maps'))
        say(
            'Next',
            shlex.join([
                'python',
                str(Path(sys.argv[0]).with_name('test.py')),
                shown_path(runner.config_path),
                shown_path(checkpoint), '--show-dir', maps
            ]))


if __name__ == '__main__':
    main()
