"""Check the parts of a config against the classes that they configure."""
import inspect
import numbers
import types
import typing
from collections.abc import Collection, Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch import nn

from mmad.errors import InputError
from mmad.registry import (
    DATASETS,
    MODELS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
    WEIGHT_INITIALIZERS,
)

from .arguments import check_number
from .config_file import nearest
from .one_sentence_errors import is_library

# The registries of nested parts, by the key that they are stored under.
_NESTED_REGISTRIES: dict[Registry, dict[str, Registry]] = {
    DATASETS: dict(pipeline=TRANSFORMS, dataset=DATASETS, datasets=DATASETS),
    TRANSFORMS: dict(transforms=TRANSFORMS),
    VISUALIZERS: dict(vis_backends=VISBACKENDS),
}
# Keys that mmad itself reads in the config of a backbone, the first two only
# in that of another package.
_BACKBONE_KEYS = ('stages', 'weights', 'tiles', 'precision', 'compile')
# The functions that `**kwargs` of these hooks are passed to.
_KWARGS_ARE_FOR = {
    CheckpointHook: Runner.save_checkpoint,
    EMAHook: ExponentialMovingAverage,
}


def check_part(place: str,
               part: object,
               registry: Registry,
               given: Collection[str] = (),
               extra: Collection[str] = (),
               default_type: str | None = None) -> None:
    """Check a dict with a ``type`` against the constructor of that type.

    Args:
        place (str): Place in the config, such as ``'model.backbone'``.
        part (object): The value at that place.
        registry (Registry): Registry of the type.
        given (Collection[str]): Arguments that do not come from the config.
        extra (Collection[str]): Keys that are read before the constructor is
            called.
        default_type (str, optional): The type of a dict without one.

    Raises:
        InputError: If it is not a dict, its type is unknown, it has a key
            that is not an argument of the constructor, an argument is
            missing, or a value has the wrong type.
    """
    if not isinstance(part, dict):
        raise InputError(f'`{place}` of the config must be a dict with a '
                         f'`type`, got {short_repr(part)}.')
    kind = find_type(place, part, registry, default_type)
    name = type_name(kind)
    keys = {key for key in part if key not in ('type', '_scope_')}
    parameters = constructor_parameters(kind)
    if parameters is not None:
        unknown = sorted(keys - set(parameters) - set(extra), key=str)
        if unknown:
            raise InputError(
                f'`{place}` of the config: {name} has no `{unknown[0]}`; ' +
                (nearest(unknown[0], parameters) or 'its arguments are ' +
                 ', '.join(sorted(set(parameters) - set(given))) + '.'))
        missing = [
            key for key, parameter in parameters.items()
            if parameter.default is parameter.empty and key not in keys
            and key not in given
        ]
        if missing:
            raise InputError(f'`{place}` of the config: {name} needs '
                             f'`{missing[0]}`; set it there.')
    hints = _hints(kind)
    for key in sorted(keys, key=str):
        if (key in hints and parameters and key in parameters
                and part[key] != parameters[key].default):
            check_value(f'{place}.{key}', part[key], hints[key])
        # Without an annotation, the default value shows the type.
        default = parameters and key in parameters and parameters[key].default
        if (key not in hints and isinstance(part[key], str)
                and type(default) in (int, float)):
            raise InputError(f'`{place}.{key}` of the config must be a '
                             f'number, got {short_repr(part[key])}.')
        nested = _nested(registry, key)
        if nested is not None:
            _check_inside(f'{place}.{key}', part[key], nested,
                          nested is not MODELS or _is_own(kind))


def type_name(kind: object) -> str:
    """Return a ``type`` as text; in lazy configs it is a class."""
    return getattr(kind, '__name__', str(kind))


def find_type(place: str,
              part: dict,
              registry: Registry,
              default: str | None = None) -> object:
    """Find the class or function that the ``type`` of a dict names.

    Raises:
        InputError: If there is nothing of that name, or no ``type``.
    """
    wanted = part.get('type', default)
    if wanted is None:
        raise InputError(f'`{place}` of the config has no `type`.')
    if not isinstance(wanted, str):
        if callable(wanted):
            return wanted
        raise InputError(f'`{place}.type` of the config must be a name, got '
                         f'{short_repr(wanted)}.')
    with registry.switch_scope_and_registry(part.get('_scope_')) as found:
        kind = found.get(wanted)
    if kind is None:
        names, parent = set(), registry
        while parent is not None:
            names |= set(parent.module_dict)
            parent = parent.parent
        raise InputError(
            f'`{place}.type` of the config: there is no {registry.name} '
            f'"{wanted}"; ' +
            (nearest(wanted, names) or 'one of your own must be imported '
             'first, see `custom_imports` in docs/config.md.'))
    return kind


def constructor_parameters(
        kind: object) -> dict[str, inspect.Parameter] | None:
    """Find the parameters of a constructor.

    In the libraries, ``**kwargs`` are passed to the base class, so the
    parameters of its constructor are included. They count as optional, since
    the class itself may pass them.

    Returns:
        dict[str, inspect.Parameter] | None: Parameters by name; None if the
        constructor accepts any.
    """
    parameters: dict[str, inspect.Parameter] = {}
    followed = False
    classes = kind.__mro__ if inspect.isclass(kind) else (kind, )
    for one in classes:
        # These accept nothing, although their signatures say otherwise.
        if one in (object, nn.Module):
            break
        function: Any = one
        if inspect.isclass(one):
            function = vars(one).get('__init__')
            if function is None:
                continue
        try:
            found = inspect.signature(function).parameters
        except (TypeError, ValueError):
            return None
        for name, parameter in found.items():
            if parameter.kind not in (parameter.VAR_POSITIONAL,
                                      parameter.VAR_KEYWORD,
                                      parameter.POSITIONAL_ONLY):
                parameters.setdefault(
                    name,
                    parameter.replace(default=None) if followed else parameter)
        followed = True
        if not any(parameter.kind is parameter.VAR_KEYWORD
                   for parameter in found.values()):
            break
        if one in _KWARGS_ARE_FOR:
            for name in inspect.signature(_KWARGS_ARE_FOR[one]).parameters:
                parameters.setdefault(
                    name,
                    inspect.Parameter(
                        name, inspect.Parameter.KEYWORD_ONLY, default=None))
            break
        if not is_library(getattr(one, '__module__', None)):
            return None
    parameters.pop('self', None)
    return parameters


def check_keys(place: str, part: object, known: Collection[str]) -> None:
    """Check that all keys of a dict are known.

    Raises:
        InputError: If it is not a dict, or has a key that nothing reads.
    """
    if not isinstance(part, dict):
        raise InputError(f'`{place}` of the config must be a dict, got '
                         f'{short_repr(part)}.')
    for key in part:
        if key not in known:
            raise InputError(f'nothing reads `{place}.{key}` of the config; ' +
                             (nearest(key, known)
                              or f'use one of {", ".join(sorted(known))}.'))


def check_compile(place: str, options: object) -> None:
    """Check that torch.compile takes some options, if they are a dict.

    Raises:
        InputError: It does not.
    """
    if not isinstance(options, dict):
        return
    known = set(inspect.signature(torch.compile).parameters) - {'model'}
    check_keys(place, options, known)
    try:
        # Nothing is compiled before the first call.
        torch.compile(check_compile, **options)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f'`{place}` of the config is not what torch.compile takes: '
            f'{" ".join(str(error).split())}') from error


def check_integer(place: str,
                  part: dict,
                  key: str,
                  least: int,
                  below: int | None = None) -> None:
    """Check that an entry is an integer in its range, None or missing.

    Raises:
        InputError: If it is anything else.
    """
    check_number(
        f'{place}.{key}',
        part.get(key),
        low=least,
        below=below,
        integer=True,
        optional=True)


def check_value(place: str, value: object, annotation: object) -> None:
    """Check a plain value against the annotation of its argument.

    Raises:
        InputError: If the annotation consists of plain types, and the value
            has none of them.
    """
    if not _matches(value, annotation):
        raise InputError(
            f'`{place}` of the config must be '
            f'{_describe_annotation(annotation)}, got {short_repr(value)}.')


def short_repr(value: object) -> str:
    """Return the ``repr`` of a value, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _matches(value: object, annotation: object) -> bool:
    if annotation is typing.Any or isinstance(annotation, typing.TypeVar):
        return True
    if annotation in (None, types.NoneType):
        return value is None
    origin = typing.get_origin(annotation)
    inner = typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_matches(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    kind = origin or annotation
    if not inspect.isclass(kind):
        return True
    if kind is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value,
                          numbers.Integral) and not isinstance(value, bool)
    if issubclass(kind, Sequence) and kind is not str:
        if isinstance(value, str | dict | numbers.Number) or value is None:
            return False
        ends = inner if Ellipsis not in inner else inner[:1]
        if not isinstance(value, list | tuple) or not ends:
            return True
        if kind is tuple and Ellipsis not in inner:
            return len(value) == len(ends) and all(map(_matches, value, ends))
        return all(_matches(one, ends[0]) for one in value)
    if kind in (str, bool, dict):
        return isinstance(value, kind)
    # A path, an array or a module: the constructor decides whether it can be
    # made from the value, but never from a number or None.
    return kind is object or not (value is None
                                  or isinstance(value, numbers.Number))


def _describe_annotation(annotation: object) -> str:
    inner = typing.get_args(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return ' or '.join(map(_describe_annotation, inner))
    if annotation is types.NoneType:
        return 'None'
    if inspect.isclass(annotation) and not inner:
        return {
            int: 'an integer',
            float: 'a number',
            str: 'a string',
            bool: 'True or False',
            dict: 'a dict'
        }.get(annotation, annotation.__name__)
    return str(annotation).replace('typing.',
                                   '').replace('collections.abc.', '')


def _hints(kind: object) -> dict[str, object]:
    function = kind.__init__ if inspect.isclass(kind) else kind
    try:
        return typing.get_type_hints(function)
    # The annotations of other packages may name what is not imported.
    except Exception:
        return {}


def _is_own(kind: object) -> bool:
    return str(getattr(kind, '__module__', '')).startswith('mmad.')


def _nested(registry: Registry, key: str) -> Registry | None:
    if registry is MODELS:
        if key == 'init_cfg':
            return WEIGHT_INITIALIZERS
        # Other packages use this suffix for layers, and add arguments.
        return None if str(key).endswith('_cfg') else MODELS
    return _NESTED_REGISTRIES.get(registry, {}).get(key)


def _check_inside(place: str, value: object, registry: Registry,
                  strict: bool) -> None:
    """Check the parts inside a value, at any depth of lists and dicts."""
    if isinstance(value, list | tuple):
        for index, one in enumerate(value):
            _check_inside(f'{place}.{index}', one, registry, strict)
    elif isinstance(value, dict) and 'type' in value:
        kind = value['type']
        known = isinstance(kind, str) and registry.get(kind) is not None
        if strict or known:
            backend = registry is VISBACKENDS
            extra = ('name', ) if backend else (
                _BACKBONE_KEYS if place.endswith('.backbone') else ())
            check_part(place, value, registry, ('save_dir', ) * backend, extra)
    elif isinstance(value, dict):
        if registry is TRANSFORMS:
            raise InputError(f'`{place}` of the config has no `type`.')
        for key in value if isinstance(value, ConfigDict) else list(value):
            _check_inside(f'{place}.{key}', value[key], registry, strict)
    elif registry is TRANSFORMS and value is not None and not callable(value):
        raise InputError(f'`{place}` of the config must be a dict with a '
                         f'`type`, got {short_repr(value)}.')
