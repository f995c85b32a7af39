"""Fit or train a detector, validate it and write a checkpoint."""
import argparse

from mmad.interrupt import watch_imports

watch_imports()

from mmengine.runner import Runner

from mmad.engine import refuse_unsupported
from mmad.utils.checkpoint import latest_checkpoint
from mmad.utils.command_line import (
    add_run_arguments,
    check_beforehand,
    check_data,
    check_optimizer,
    finish_config,
    guard_amp,
    load_config,
    one_sentence_errors,
)
from mmad.utils.setup_env import setup_environment


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


@one_sentence_errors
def main() -> None:
    args = parse_args()
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
    check_data(cfg, ['train_dataloader', 'val_dataloader'])
    setup_environment(args.launcher)
    runner = Runner.from_cfg(cfg)
    check_optimizer(runner)
    runner.train()


if __name__ == '__main__':
    main()
