"""Functions shared by the command-line tools."""
import argparse
import logging
import os
import re
from collections.abc import Collection, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmad.command_options import (
    add_common_arguments,
    add_config_arguments,
    add_run_arguments,
    add_weights_argument,
)
from mmad.errors import InputError
from mmad.registry import DATASETS

from .checkpoint import load_checkpoint
from .config_check import check_config, check_entry_types
from .config_file import KEYS, advise_on_key, read_config
from .config_parts import type_name
from .data_options import set_in_data_set, use_data_set
from .inner_datasets import inner_dataset_configs, inner_datasets
from .one_sentence_errors import one_sentence_errors
from .own_folders import name_of_part, set_own_folders
from .path_checks import (
    check_category,
    check_files,
    check_folder,
    check_folders,
)
from .weights import remove_weights, set_weights

__all__ = [
    'add_common_arguments', 'add_config_arguments', 'add_run_arguments',
    'add_weights_argument', 'check_at_least', 'check_before_run', 'check_data',
    'check_optimizer', 'enable_amp', 'finish_config', 'load_config',
    'one_sentence_errors', 'use_checkpoint_backbone'
]

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def check_at_least(option: str, number: int, least: int) -> None:
    """Check that a number of the command line is not too small.

    Raises:
        InputError: If the number is below ``least``.
    """
    if number < least:
        raise InputError(f'{option} must be at least {least}, got {number}.')


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and merge the options of the command line into it.

    Raises:
        InputError: If the config cannot be read, has a key that nothing
            reads, or an option does not apply to it.
    """
    cfg = read_config(args.config)
    if args.data is not None:
        use_data_set(cfg, args.data)
    _merge_options(cfg, args)
    check_entry_types(cfg)
    set_own_folders(cfg, args)
    for key in ('data_root', 'category'):
        value = getattr(args, key)
        if value is None:
            continue
        for loader in _LOADERS:
            if cfg.get(loader) is not None:
                set_in_data_set(cfg[loader].dataset, key, value)
    for loader in _LOADERS:
        if cfg.get(loader) is not None:
            for part in inner_dataset_configs(cfg[loader].dataset):
                check_category(part.get('category'))
    if getattr(args, 'weights', None) is not None:
        if 'model' not in cfg:
            raise InputError(f'--weights is for a model, but "{args.config}" '
                             'has no `model`; leave it out.')
        set_weights(cfg.model, args.weights)
    return cfg


def _merge_options(cfg: Config, args: argparse.Namespace) -> None:
    options = _parse_options(args.cfg_options or [])
    for key in options:
        first = key.split('.')[0]
        if first not in KEYS:
            raise InputError(f'--cfg-options {key}: nothing reads the key '
                             f'`{first}`; {advise_on_key(first)}')
        if first in ('custom_imports', 'launcher'):
            raise InputError(f'--cfg-options {first} has no effect; ' +
                             ('use --launcher.' if first ==
                              'launcher' else 'set it in the config file.'))
    for key, value in options.items():
        try:
            cfg.merge_from_dict({key: value})
        # MMEngine raises any of these if the key leads through a number, a
        # string or None, or past the end of a list.
        except (AssertionError, AttributeError, IndexError, KeyError,
                TypeError, ValueError) as error:
            raise InputError(
                f'--cfg-options {key} has no place in "{args.config}" '
                f'({" ".join(str(error).split())[:200]}); check the '
                'key.') from error


def _parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    found = argparse.Namespace(options=None)
    try:
        DictAction(['--cfg-options'], 'options')(argparse.ArgumentParser(),
                                                 found, pairs)
    except (AssertionError, ValueError) as error:
        raise InputError(
            f'--cfg-options {" ".join(pairs)}: each must be KEY=VALUE, '
            'with brackets in pairs.') from error
    return found.options


def check_before_run(cfg: Config,
                     needs: Collection[str],
                     checkpoint: str | None = None) -> None:
    """Check a config before anything is computed or written.

    Args:
        cfg (Config): Config after :func:`finish_config`.
        needs (Collection[str]): Which of ``'train'`` and ``'test'`` the run
            needs the entries for.
        checkpoint (str, optional): Checkpoint that contains all weights.
            Defaults to None.

    Raises:
        InputError: If the config is incomplete or has a key that nothing
            reads, a file that it names is missing, or its work directory
            cannot be written to.
    """
    check_config(cfg, needs)
    check_folder(cfg.work_dir, '--work-dir')
    for name in (Path(cfg.filename or '').name, 'last_checkpoint',
                 'metrics.json', 'predictions.npz'):
        if name and Path(cfg.work_dir, name).is_dir():
            raise InputError(
                f'the work dir has a folder "{Path(cfg.work_dir, name)}" '
                'where a file is to be written; remove it or choose another '
                '--work-dir.')
    check_folders(cfg)
    if checkpoint is not None:
        use_checkpoint_backbone(cfg, checkpoint)
    check_files(cfg)


def finish_config(cfg: Config, args: argparse.Namespace) -> None:
    """Set the launcher, the work directory and the entries they affect."""
    cfg.launcher = args.launcher
    if (args.launcher != 'none' and not torch.cuda.is_available()
            and cfg.get('model_wrapper_cfg') is None):
        # The default of MMEngine needs a CUDA device in every process.
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False))
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    for loader in _LOADERS:
        # PyTorch refuses persistent workers if there are no workers.
        if cfg.get(loader) is not None and cfg[loader].get('num_workers') == 0:
            cfg[loader].persistent_workers = False
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        loader = cfg.get('test_dataloader') or cfg.get('train_dataloader')
        categories = loader and {
            part.get('category')
            for part in inner_dataset_configs(loader.dataset)
        }
        category = categories.pop() if len(categories or ()) == 1 else None
        cfg.work_dir = str(
            Path('work_dirs',
                 Path(cfg.filename).stem,
                 str(category or name_of_part(args) or '')))


def use_checkpoint_backbone(cfg: Config, checkpoint: str) -> None:
    """Remove the weights from a config if the checkpoint contains them.

    Then nothing is downloaded, and the weights are those of the fit.
    """
    state = load_checkpoint(checkpoint, map_location='cpu')
    if cfg.get('resume'):
        _check_resumable(state, checkpoint)
    if any(
            re.match(r'(members\.\d+\.)?(backbone|scales)\.', key)
            for key in state.get('state_dict', {})):
        remove_weights(cfg.model)


def _check_resumable(state: dict, checkpoint: str) -> None:
    """Refuse a checkpoint without the progress of its training."""
    meta, hub = state.get('meta'), state.get('message_hub')
    if isinstance(meta, dict) and isinstance(hub, dict):
        counts = [meta.get('epoch'), meta.get('iter')]
        seed = meta.get('seed')
        if (all(isinstance(count, int) and count >= 0 for count in counts)
                and (seed is None or
                     (isinstance(seed, Integral) and 0 <= int(seed) < 1 << 32))
                and all(
                    isinstance(hub.get(name), dict)
                    for name in ('log_scalars', 'runtime_info',
                                 'resumed_keys'))):
            return
    raise InputError(
        f'checkpoint "{checkpoint}" does not contain the progress of its '
        'training (epoch, iter, seed and log), so training cannot be resumed; '
        'name one that tools/train.py wrote, or leave out --resume.')


def check_data(cfg: Config, loaders: Sequence[str]) -> dict[str, BaseDataset]:
    """Scan the data sets before anything is built, downloaded or written.

    The first image of each data set is passed through its pipeline.

    Returns:
        dict[str, BaseDataset]: The data sets of those loaders that the config
        has.

    Raises:
        InputError: If a folder, a category or a mask is missing, a pipeline
            makes no input for a model, or an image is both a training image
            and a test image.
    """
    init_default_scope('mmad')
    data = {
        loader: _build_data(cfg[loader].dataset)
        for loader in loaders if cfg.get(loader) is not None
    }
    train: Any = data.get('train_dataloader')
    for loader, dataset in data.items():
        for part in inner_datasets(train) if dataset is not train else []:
            if hasattr(part, 'check_overlap'):
                for other in inner_datasets(dataset):
                    part.check_overlap(other)
        item = dataset[0]
        if not isinstance(item, dict) or not {'inputs', 'data_samples'
                                              } <= set(item):
            raise InputError(f'`{loader}.dataset.pipeline` of the config must '
                             'end with a step that packs the inputs, such as '
                             "dict(type='PackInputs').")
    return data


def _build_data(cfg: dict) -> BaseDataset:
    """Build a data set, and log its size unless it does so itself."""
    records: list[logging.LogRecord] = []

    def collect(record: logging.LogRecord) -> bool:
        records.append(record)
        return True

    logger = MMLogger.get_current_instance()
    logger.addFilter(collect)
    try:
        dataset = DATASETS.build(cfg)
    finally:
        logger.removeFilter(collect)
    if not any('images' in record.getMessage() for record in records):
        split = cfg.get('split')
        logger.info(
            type(dataset).__name__ + (f' ({split})' if split else '') +
            f': {len(dataset)} images.')
    return dataset


def enable_amp(cfg: Config) -> None:
    """Enable automatic mixed precision.

    Raises:
        InputError: If there is no GPU, or the config has no optimizer.
    """
    if not torch.cuda.is_available():
        raise InputError(
            '--amp needs a CUDA GPU, but there is none; leave it out.')
    if not cfg.get('optim_wrapper'):
        raise InputError(
            '--amp is for training by gradients; this config has no '
            'optimizer. Leave it out.')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def check_optimizer(runner: Runner) -> None:
    """Check that the config and its optimizer suit the model of a runner.

    Raises:
        InputError: If there is an optimizer but no parameter that requires
            gradients, or the config names a module that the model does not
            have.
    """
    model = runner.model
    model_name = type_name(runner.cfg.model.type)
    modules = dict(model.named_modules())
    for key in ('activation_checkpointing', 'efficient_conv_bn_eval'):
        names = runner.cfg.get(key) or ()
        for name in [names] if isinstance(names, str) else names:
            if name not in modules:
                raise InputError(
                    f'`{key}` of the config names the module {name!r}, which '
                    f'the {model_name} does not have; it has '
                    f'{", ".join(name for name, _ in model.named_children())}'
                    ' and their parts.')
    if runner.optim_wrapper and not any(parameter.requires_grad
                                        for parameter in model.parameters()):
        raise InputError(
            f'{model_name} as configured has nothing to train, but the '
            'config has an optimizer; use the schedule '
            '`_base_/schedules/fit_once.py`.')
