"""What the command-line tools share."""
import argparse
import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmad.errors import InputError
from mmad.registry import DATASETS

from .checkpoint import load_checkpoint
from .weights import forget_weights, set_weights

# Entries that the runner reads and does not take as arguments.
_RUNNER_ENTRIES = {'compile', 'find_unused_parameters', 'sync_bn'}
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every tool with a config."""
    parser.add_argument(
        '--data-root',
        help='folder of the data set, in place of the one in the config')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
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
    # torch.distributed.launch, as mim calls it, passes the first form.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0,
        help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and merge the command line into it.

    Raises:
        InputError: The config does not exist or an option has no place in it.
    """
    if not Path(args.config).is_file():
        raise InputError(f'config "{args.config}" does not exist.')
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        known = set(cfg) | _RUNNER_ENTRIES | set(
            inspect.signature(Runner).parameters)
        for key in args.cfg_options:
            if key.split('.')[0] not in known:
                raise InputError(
                    f'--cfg-options {key} begins with none of the keys of '
                    f'"{args.config}": {", ".join(sorted(cfg))}.')
        cfg.merge_from_dict(args.cfg_options)
    for key in ('data_root', 'category'):
        value = getattr(args, key)
        if value is None:
            continue
        for loader in _LOADERS:
            if cfg.get(loader) is not None:
                dataset = cfg[loader].dataset
                if key not in dataset:
                    raise InputError(
                        f'--{key.replace("_", "-")} does not apply: the '
                        f'{dataset.type} of this config has no `{key}`.')
                dataset[key] = value
    if getattr(args, 'weights', None) is not None:
        set_weights(cfg.model, args.weights)
    return cfg


def finish_config(cfg: Config, args: argparse.Namespace) -> None:
    """Set launcher and work dir, and what follows from them."""
    cfg.launcher = args.launcher
    if (args.launcher != 'none' and not torch.cuda.is_available()
            and cfg.get('model_wrapper_cfg') is None):
        # MMEngine's default asks for a CUDA device in every process.
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False))
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    for loader in _LOADERS:
        # torch refuses the one without the other.
        if cfg.get(loader) is not None and cfg[loader].get('num_workers') == 0:
            cfg[loader].persistent_workers = False
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        loader = cfg.get('test_dataloader') or cfg.train_dataloader
        category = loader.dataset.get('category')
        cfg.work_dir = str(
            Path('work_dirs', Path(args.config).stem, category or ''))


def use_checkpoint_backbone(cfg: Config, checkpoint: str) -> None:
    """Take all weights from the checkpoint, which is complete in itself.

    So nothing is downloaded, and the weights are those of the fit.
    """
    state = load_checkpoint(checkpoint, map_location='cpu')
    if any(
            key.startswith(('backbone.', 'scales.'))
            for key in state.get('state_dict', {})):
        forget_weights(cfg.model)


def check_data(cfg: Config, loaders: Sequence[str]) -> None:
    """Scan the data sets before anything is built, downloaded or written.

    Raises:
        InputError: A folder, a category or a mask is missing, or an image is
            to be trained and tested with.
    """
    init_default_scope('mmad')
    data = {
        loader: DATASETS.build(cfg[loader].dataset)
        for loader in loaders if cfg.get(loader) is not None
    }
    train = data.get('train_dataloader')
    for test in data.values():
        if test is not train and hasattr(train, 'check_overlap'):
            train.check_overlap(test)


def guard_amp(cfg: Config) -> None:
    """Switch mixed precision on, or say why not.

    Raises:
        InputError: There is no GPU, or nothing is optimised.
    """
    if not torch.cuda.is_available():
        raise InputError(
            '--amp needs a CUDA GPU and there is none; leave it out.')
    if not cfg.optim_wrapper:
        raise InputError(
            '--amp is for training by gradients; this config has no '
            'optimiser. Leave it out.')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def check_optimiser(runner: Runner) -> None:
    """Refuse an optimiser that would have nothing to optimise.

    Raises:
        InputError: There is one, and no parameter takes gradients.
    """
    model = runner.model
    if runner.optim_wrapper and not any(
            parameter.requires_grad for parameter in model.parameters()):
        raise InputError(
            f'{runner.cfg.model.type} as configured has nothing to train, but '
            'the config has an optimiser; use the schedule '
            '`_base_/schedules/fit_once.py`.')


def one_sentence_errors(main: Callable) -> Callable:
    """End with the sentence of an :class:`InputError`, status 2."""

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
        except InputError as error:
            # One from a worker process carries that one's traceback; its last
            # line is the message.
            text = str(error).strip().splitlines()[-1]
            sys.stderr.write('error: ' + text.split('InputError: ')[-1] + '\n')
            sys.exit(2)
        except TypeError as error:
            if 'unexpected keyword argument' not in str(error):
                raise
            sys.stderr.write(f'error: the config has a key that is unknown '
                             f'there: {error}; mind the spelling.\n')
            sys.exit(2)

    return wrapped
