"""Test a checkpoint: metrics, and images if asked for."""
import argparse

from mmad.interrupt import watch_imports

watch_imports()

from mmengine.runner import Runner

from mmad.engine import refuse_unsupported
from mmad.errors import InputError
from mmad.utils.command_line import (
    add_run_arguments,
    at_least,
    check_beforehand,
    check_data,
    finish_config,
    load_config,
    one_sentence_errors,
)
from mmad.utils.config_parts import type_name
from mmad.utils.path_checks import check_folder
from mmad.utils.setup_env import setup_environment


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    add_run_arguments(parser)
    parser.add_argument(
        '--show-dir', help='draw a heat map of every test image there')
    parser.add_argument(
        '--interval',
        type=int,
        default=1,
        help='with --show-dir: draw every so many images')
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    at_least('--interval', args.interval, 1)
    cfg = load_config(args)
    if cfg.get('test_dataloader') is None:
        raise InputError(
            f'"{args.config}" has no `test_dataloader`: a '
            f'{type_name(cfg.get("model", {}).get("type"))} cannot be tested.')
    finish_config(cfg, args)
    if args.show_dir is not None:
        check_folder(args.show_dir, '--show-dir')
        hooks = cfg.setdefault('default_hooks', {})
        hooks.visualization = dict(
            hooks.get('visualization') or {},
            type='VisualizationHook',
            enable=True,
            out_dir=args.show_dir,
            interval=args.interval)
    cfg.load_from = args.checkpoint
    check_beforehand(cfg, ['test'], None if args.weights else args.checkpoint)
    refuse_unsupported(cfg)
    check_data(cfg, ['test_dataloader'])
    setup_environment(args.launcher)
    Runner.from_cfg(cfg).test()


if __name__ == '__main__':
    main()
