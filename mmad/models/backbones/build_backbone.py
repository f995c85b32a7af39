import inspect
import logging
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from mmengine.registry import Registry
from torch import nn

from mmad.errors import InputError
from mmad.models.build import build_part
from mmad.registry import MODELS
from mmad.utils.arguments import as_arguments
from mmad.utils.config_parts import check_compile

from .base import FrozenBackbone, load_needed, read_weights
from .foreign_backbone import ForeignBackbone, class_name
from .half_precision_backbone import HalfPrecisionBackbone
from .tiled_backbone import TiledBackbone

# The arguments that name weights, of mmad and of the packages of the family.
_WEIGHTS = ('weights', 'init_cfg', 'pretrained')


def build_backbone(backbone: dict | nn.Module) -> FrozenBackbone:
    """Build a backbone of mmad or of any other package.

    A backbone of mmad is built as its config says. Any other network is
    wrapped into a :class:`ForeignBackbone`, and its config has to say where
    its weights come from:

    - ``init_cfg=dict(type='Pretrained', checkpoint=...)`` or ``pretrained``:
      by the means of its package, at once;
    - ``weights='FILE'``: a state dict, a file or a URL, as for backbones of
      mmad; in place of the above where both are given;
    - ``weights=None``, or ``init_cfg=None``: mmad loads nothing. The weights
      are random, if the class does not load some by itself.

    ``tiles`` in the config of any backbone, a dict of the arguments of
    :class:`TiledBackbone`, has it see large images tile by tile.

    ``precision`` in the config of any backbone, ``'bfloat16'`` or
    ``'float16'``, has it compute in that, see :class:`HalfPrecisionBackbone`.

    ``compile`` in the config of any backbone, True or a dict of the options
    of :func:`torch.compile`, has it compiled at its first batch.

    ``stages`` in the config names its maps. ``weights`` and ``stages`` reach
    the class only if it has such arguments.

    Args:
        backbone (dict | nn.Module): Its config, or a module, which keeps the
            weights that it has.

    Returns:
        FrozenBackbone: In evaluation mode, without gradients.

    Raises:
        InputError: It is neither, there is no such class, or its weights are
            not named, cannot be had or do not fit.
    """
    if isinstance(backbone, FrozenBackbone):
        return backbone
    if isinstance(backbone, nn.Module):
        return ForeignBackbone(backbone)
    for key, wrap in _WRAPPERS.items():
        if isinstance(backbone, Mapping) and key in backbone:
            plain = {name: backbone[name] for name in backbone if name != key}
            return wrap(build_backbone(plain), backbone[key])
    if isinstance(backbone, Mapping) and 'type' in backbone:
        kind = _find_class(backbone)
        if not (isinstance(kind, type) and issubclass(kind, FrozenBackbone)):
            return _build_foreign(dict(backbone), kind)
    return build_part(backbone)


def _tile(backbone: FrozenBackbone, tiles: Any) -> FrozenBackbone:
    tiles = as_arguments('tiles', tiles)
    if not tiles:
        return backbone
    unknown = set(tiles) - _arguments(TiledBackbone)
    if unknown or 'size' not in tiles:
        raise InputError(
            '`tiles` of a backbone needs `size` and may have `overlap`, '
            f'`blending` and `batch_size`, got {sorted(tiles)}.')
    return TiledBackbone(backbone, **tiles)


def _halve(backbone: FrozenBackbone, precision: Any) -> FrozenBackbone:
    return backbone if precision is None else HalfPrecisionBackbone(
        backbone, precision)


def _compile(backbone: FrozenBackbone, options: Any) -> FrozenBackbone:
    if not isinstance(options, bool | Mapping | None):
        raise InputError('`compile` of a backbone must be True or a dict of '
                         f'options, got {options!r}.')
    if options or isinstance(options, Mapping):
        options = {} if options is True else dict(options)
        check_compile('backbone.compile', options)
        # In place, so that the state dict has the names it had.
        backbone.compile(**options)
    return backbone


# What else a config of any backbone may ask for, the outermost first. The
# check of configs knows these keys from `config_parts`.
_WRAPPERS = dict(tiles=_tile, precision=_halve, compile=_compile)


def _find_class(config: Mapping) -> object:
    kind = config['type']
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(
                config.get('_scope_')) as registry:
            kind = registry.get(kind)
    if kind is None:
        scope = Registry.split_scope_key(config['type'])[0]
        raise InputError(
            f'there is no backbone "{config["type"]}"; ' +
            (f'install the package "{scope}", or ' if scope else '') +
            'import the module that registers it with `custom_imports`.')
    return kind


def _build_foreign(config: dict, kind: object) -> ForeignBackbone:
    if not any(key in config for key in _WEIGHTS):
        raise InputError(
            f'the backbone {config["type"]} names no weights; give '
            '`init_cfg=dict(type="Pretrained", checkpoint=FILE)`, '
            '`weights="FILE"`, or `weights=None` if they are to be random.')
    own = _arguments(kind)
    weights, stages = (
        config.pop(key, None) if key not in own else None
        for key in ('weights', 'stages'))
    name = class_name(kind) + _plain({
        key: value
        for key, value in config.items() if key != 'type'
    })
    network = _construct(config)
    if not isinstance(network, nn.Module):
        raise InputError(f'the backbone {config["type"]} is a '
                         f'{type(network).__name__}, not a module of torch.')
    if weights is not None:
        _load_file(network, weights)
    elif any(config.get(key) for key in ('init_cfg', 'pretrained')):
        _initialize(network, config)
    return ForeignBackbone(network, stages, name)


def _construct(config: dict) -> nn.Module:
    """Build under the scope of the network's own package.

    There it looks up its layers.
    """
    kind, scope = config['type'], config.pop('_scope_', None)
    if scope is None:
        scope = (
            Registry.split_scope_key(kind)[0] if isinstance(kind, str) else
            str(kind.__module__).partition('.')[0])
    if scope not in MODELS.parent.children:
        scope = None
    with MODELS.switch_scope_and_registry(scope) as registry:
        return registry.build(config)


def _arguments(kind: object) -> set[str]:
    """Names of the arguments of a class, those of its bases included.

    The bases count as far as ``**kwargs`` are handed on to them.
    """
    names: set[str] = set()
    for one in kind.__mro__ if isinstance(kind, type) else (kind, ):
        function: Any = (
            vars(one).get('__init__') if isinstance(one, type) else one)
        if function is None:
            continue
        parameters = inspect.signature(function).parameters
        names |= set(parameters)
        if not any(parameter.kind is parameter.VAR_KEYWORD
                   for parameter in parameters.values()):
            break
    return names


def _load_file(network: nn.Module, weights: str) -> None:
    state = read_weights(weights)
    # Files of whole models, as packages of the family publish them.
    part = {
        key.removeprefix('backbone.'): value
        for key, value in state.items() if key.startswith('backbone.')
    }
    load_needed(network, part or state, f'weights file "{weights}"')


def _initialize(network: nn.Module, config: dict) -> None:
    """Let a module of MMEngine load the weights that it was told of."""
    if not isinstance(network, BaseModule) or network.is_init:
        return
    kind = config['type']
    pretrained = _checkpoints(network.init_cfg)
    if _checkpoints(config.get('init_cfg')) and not pretrained:
        raise InputError(
            f'the backbone {kind} does not heed its `init_cfg`, and would '
            'have random weights; name a file with `weights`.')
    if pretrained:
        # MMEngine does not mind what a file lacks; what is NaN afterwards
        # was not in it.
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(torch.nan)
    try:
        with _quiet():
            network.init_weights()
    except InputError:
        raise
    # As MMEngine and torch say that a file is missing, is broken or cannot be
    # fetched.
    except (KeyError, OSError, RuntimeError, ValueError,
            pickle.UnpicklingError) as error:
        raise InputError(
            f'the weights of the backbone {kind} cannot be loaded '
            f'({" ".join(str(error).split())[:200]}); check its `init_cfg`, '
            'or name a local file with `weights`.') from error
    lacking = [
        key for key, parameter in network.named_parameters()
        if parameter.isnan().any()
    ]
    if pretrained and lacking:
        shown = ', '.join(lacking[:8]) + (f' and {len(lacking) - 8} more'
                                          if len(lacking) > 8 else '')
        raise InputError(
            f'the weights file "{pretrained[0]}" lacks '
            f'{len(lacking)} parameters of the backbone {kind}: {shown}; name '
            'the file of this network, with `prefix="backbone."` in '
            '`init_cfg` if it is that of a whole model.')


def _checkpoints(init_cfg: Any) -> list:
    """The files that an ``init_cfg`` names."""
    given = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    return [one['checkpoint'] for one in given if 'checkpoint' in one]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MMEngine from printing a line or two for each parameter."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _plain(value: object) -> str:
    """A config as text that is the same however it was written.

    Without weights, which are no part of the architecture.
    """
    if isinstance(value, Mapping):
        parts = (f'{key}={_plain(value[key])}' for key in sorted(value)
                 if key not in (*_WEIGHTS, 'type', '_scope_'))
        kind = value.get('type')
        return f'({", ".join(parts)})' if kind is None else (
            f'({", ".join((_type_name(kind), *parts))})')
    if isinstance(value, list | tuple):
        return f'[{", ".join(map(_plain, value))}]'
    return repr(value)


def _type_name(kind: object) -> str:
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]
