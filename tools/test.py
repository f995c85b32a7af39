"""Test a checkpoint: compute metrics and, on request, draw heat maps."""
import argparse
import shlex
from functools import partial
from pathlib import Path

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


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='config file, or the name of one of mmad')
    parser.add_argument('checkpoint', help='checkpoint file')
    add_run_arguments(parser)
    parser.add_argument(
        '--show-dir', help='folder for heat maps of the test images')
    parser.add_argument(
        '--interval',
        type=int,
        default=1,
        help='with --show-dir: draw one image out of this many (default: 1)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Imported here and in `test`, so that --help is quick.
    open_terminal(args.launcher, args.verbose)
    from mmad.utils.command_line import one_sentence_errors

    one_sentence_errors(partial(test, args))()


def test(args: argparse.Namespace) -> None:
    from mmad.engine import ToolRunner, refuse_unsupported
    from mmad.errors import InputError
    from mmad.utils.command_line import (
        check_at_least,
        check_before_run,
        check_data,
        finish_config,
        load_config,
    )
    from mmad.utils.config_parts import type_name
    from mmad.utils.path_checks import check_folder
    from mmad.utils.same_files import check_same_files
    from mmad.utils.setup_env import setup_environment

    check_at_least('--interval', args.interval, 1)
    cfg = load_config(args)
    if cfg.get('test_dataloader') is None:
        raise InputError(
            f'"{args.config}" has no `test_dataloader`, so its '
            f'{type_name(cfg.get("model", {}).get("type"))} cannot be tested; '
            'give the config of a detector.')
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
    # The config may come from the work directory of a resumed training.
    cfg.resume = False
    check_before_run(cfg, ['test'], None if args.weights else args.checkpoint)
    refuse_unsupported(cfg)
    say_config(args.config, args.data)
    say('Method', f'{type_name(cfg.model.type)}, from {args.checkpoint}')
    data = check_data(cfg, ['test_dataloader'])
    setup_environment(args.launcher, cfg.get('env_cfg'))
    runner = ToolRunner.from_cfg(cfg)
    check_same_files(data, {
        'the checkpoint': args.checkpoint,
        'the file of --weights': args.weights
    })
    runner.say_output_paths()
    runner.test()
    runner.say_metrics_path()
    if args.show_dir is None:
        maps = shown_path(Path(runner.work_dir, 'heat_maps'))
        command = [
            *tool_command('test'),
            shown_path(runner.config_path), args.checkpoint, '--show-dir', maps
        ]
    else:
        command = [*tool_command('report'), shown_path(runner.work_dir)]
    say('Next', shlex.join(command))


if __name__ == '__main__':
    main()
