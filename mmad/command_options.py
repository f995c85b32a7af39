"""Options that the command-line tools share.

Nothing is imported here that takes time, so that ``--help`` is quick.
"""
import argparse

__all__ = [
    'add_common_arguments', 'add_config_arguments', 'add_run_arguments',
    'add_weights_argument'
]


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every tool with a config."""
    parser.add_argument(
        '--data-root',
        help='folder of the data set, in place of the one in the config')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        metavar='KEY=VALUE',
        help='override entries of the config, such as '
        'model.coreset_ratio=0.01')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every tool with a config for one category."""
    add_config_arguments(parser)
    parser.add_argument('--category', help='category of the data set')


def add_weights_argument(parser: argparse.ArgumentParser) -> None:
    """The option of every tool that fits."""
    parser.add_argument(
        '--weights',
        help='local file with the weights of the backbone, in place of the '
        'config\'s')


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of train.py and test.py."""
    add_common_arguments(parser)
    add_weights_argument(parser)
    parser.add_argument(
        '--work-dir',
        help='folder for logs, checkpoints and results (default: '
        'work_dirs/CONFIG[/CATEGORY])')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher')
    parser.add_argument(
        '--verbose',
        action='store_true',
        help='show all that goes to the log file: environment, config, hooks '
        'and the warnings of libraries')
    # torch.distributed.launch, as mim calls it, passes the first form.
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help=argparse.SUPPRESS)
