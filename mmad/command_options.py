"""Options shared by the command-line tools.

This module imports nothing that takes long, so that ``--help`` is quick.
"""
import argparse

__all__ = [
    'add_checkpoint_arguments', 'add_common_arguments', 'add_config_arguments',
    'add_folder_arguments', 'add_run_arguments', 'add_weights_argument'
]


def add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every tool that takes a checkpoint alone."""
    parser.add_argument(
        '--config', help='config file, in place of that in the checkpoint')
    parser.add_argument(
        '--modules',
        nargs='+',
        default=[],
        metavar='MODULE',
        help='modules that define parts of your own')


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every tool that takes a config."""
    parser.add_argument(
        '--data',
        metavar='NAME',
        help='data set in place of the one of the config: visa, btad, mpdd, '
        'mvtec_ad, rd_mvtec_ad, mvtec_loco, magnetic_tile, folder, another '
        'file in configs/_base_/datasets, or the path of one of your own')
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
    """Add the options of every tool that takes a config for one category."""
    add_config_arguments(parser)
    parser.add_argument('--category', help='category of the data set')
    add_folder_arguments(parser)


def add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the folders of a ``FolderDataset``."""
    group = parser.add_argument_group(
        'images of your own', 'Folders, for a config such as '
        'patchcore_resnet18_10pct_folder. They are relative to the current '
        'folder, or to --data-root where it is given.')
    group.add_argument(
        '--normal-dir',
        nargs='+',
        action='extend',
        metavar='DIR',
        help='images of good parts, to fit to; those of the config are '
        'replaced, together with all other folders')
    group.add_argument(
        '--normal-test-dir',
        nargs='+',
        action='extend',
        metavar='DIR',
        help='images of good parts for testing (default: a share of those in '
        '--normal-dir, which is held out from the fit)')
    group.add_argument(
        '--abnormal-dir',
        metavar='DIR',
        help='images of bad parts for testing; a folder in it is the name of '
        'a defect type (default: none)')
    group.add_argument(
        '--mask-dir',
        metavar='DIR',
        help='masks of the defects, named like the images in --abnormal-dir '
        '(default: none)')


def add_weights_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option for backbone weights, for every tool that fits."""
    parser.add_argument(
        '--weights',
        help='local file with the weights of the backbone, in place of those '
        'in the config')


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of train.py and test.py."""
    add_common_arguments(parser)
    add_weights_argument(parser)
    parser.add_argument(
        '--work-dir',
        help='folder for logs, checkpoints and results (default: '
        'work_dirs/CONFIG[/CATEGORY], or the name of the folder of images '
        'in place of the category; with --data, CONFIG_on_DATA in place of '
        'CONFIG)')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher')
    parser.add_argument(
        '--verbose',
        action='store_true',
        help='also show on the terminal what goes to the log file only: the '
        'environment, the config, the hooks and the warnings of libraries')
    # torch.distributed.launch, which mim uses, passes the first spelling.
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help=argparse.SUPPRESS)
