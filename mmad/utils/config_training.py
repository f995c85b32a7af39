"""Check the entries of a config for training by gradients."""
import inspect
from collections.abc import Callable
from typing import Any

from mmengine.config import Config
from mmengine.optim import DefaultOptimWrapperConstructor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from mmad.errors import InputError
from mmad.registry import (
    DATA_SAMPLERS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
)

from .arguments import check_choice
from .config_parts import (
    check_compile,
    check_integer,
    check_keys,
    check_part,
    constructor_parameters,
    find_type,
)


def check_training(cfg: Config) -> None:
    """Check the optimizer, the schedules and the sampler of a config.

    Args:
        cfg (Config): Config whose data loaders have been checked.

    Raises:
        InputError: If one of them cannot be built or has a key that nothing
            reads, or training by gradients does not shuffle the images.
    """
    scheduler = cfg.get('param_scheduler')
    schedulers = scheduler if isinstance(
        scheduler, list | tuple) else [scheduler] if scheduler else []
    for index, one in enumerate(schedulers):
        check_part(
            'param_scheduler' if one is scheduler else
            f'param_scheduler.{index}', one, PARAM_SCHEDULERS,
            ('optimizer', 'epoch_length'), ('convert_to_iter_based', ))
    if cfg.get('auto_scale_lr') is not None:
        check_keys('auto_scale_lr', cfg.auto_scale_lr,
                   ('enable', 'base_batch_size'))
        check_integer('auto_scale_lr', cfg.auto_scale_lr, 'base_batch_size', 1)
        if cfg.auto_scale_lr.get(
                'enable') and not cfg.auto_scale_lr.get('base_batch_size'):
            raise InputError('`auto_scale_lr` of the config needs '
                             '`base_batch_size`; set it there.')
    check_compile('compile', cfg.get('compile'))
    wrapper = cfg.get('optim_wrapper')
    if not wrapper:
        return
    constructor = find_type(
        'optim_wrapper.constructor',
        dict(
            type=wrapper.get('constructor') or DefaultOptimWrapperConstructor),
        OPTIM_WRAPPER_CONSTRUCTORS)
    if constructor is DefaultOptimWrapperConstructor:
        check_part('optim_wrapper', wrapper, OPTIM_WRAPPERS, (),
                   ('constructor', 'paramwise_cfg'), 'OptimWrapper')
        check_part('optim_wrapper.optimizer', wrapper.get('optimizer'),
                   OPTIMIZERS, ('params', ))
        _check_paramwise(wrapper.get('paramwise_cfg'))
        _check_clipping(wrapper.get('clip_grad'))
    sampler = cfg.get('train_dataloader') and cfg.train_dataloader.sampler
    if not sampler or not isinstance(sampler, dict):
        return
    parameters = constructor_parameters(
        find_type('train_dataloader.sampler', sampler, DATA_SAMPLERS)) or {}
    if 'shuffle' in parameters and not sampler.get(
            'shuffle', parameters['shuffle'].default):
        raise InputError(
            'the config trains by gradients but does not shuffle, so each '
            'epoch would have the same batches; set '
            'train_dataloader.sampler.shuffle=True.')


def _check_paramwise(paramwise: Any) -> None:
    place = 'optim_wrapper.paramwise_cfg'
    if not paramwise:
        return
    check_keys(place, paramwise,
               ('custom_keys', 'bias_lr_mult', 'bias_decay_mult',
                'norm_decay_mult', 'dwconv_decay_mult', 'dcn_offset_lr_mult',
                'flat_decay_mult', 'bypass_duplicate'))
    custom = paramwise.get('custom_keys') or {}
    check_keys(f'{place}.custom_keys', custom,
               set(custom) if isinstance(custom, dict) else ())
    for key, entry in custom.items():
        check_keys(f'{place}.custom_keys.{key}', entry,
                   ('lr_mult', 'decay_mult'))


def _check_clipping(clip: Any) -> None:
    if clip is None:
        return
    place = 'optim_wrapper.clip_grad'
    functions: dict[str, Callable] = dict(
        norm=clip_grad_norm_, value=clip_grad_value_)
    kind = clip.get('type', 'norm') if isinstance(clip, dict) else 'norm'
    check_choice(f'{place}.type', kind, functions)
    parameters = inspect.signature(functions[kind]).parameters
    check_keys(place, clip, set(parameters) - {'parameters'} | {'type'})
    needed = 'max_norm' if kind == 'norm' else 'clip_value'
    if needed not in clip:
        raise InputError(f'`{place}` of the config needs `{needed}`.')
