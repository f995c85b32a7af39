"""Read the config that is stored in a checkpoint, without running it."""
import ast
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import mmcv.transforms
import mmengine.model
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.registry import Registry
from torch import nn

from mmad.errors import InputError, printable, summarize_error
from mmad.models import BaseDetector
from mmad.registry import MODELS, TRANSFORMS

from .image_pipeline import find_pipeline

# Classes of other packages that do not run, import or read anything that an
# argument names. Not among them are RandomResize, which calls its
# `resize_type`, and KeyMapper, which can turn an argument into the path of an
# image.
_FOREIGN = tuple(
    getattr(module, name) for module, names in (
        (mmengine.model, ('BaseDataPreprocessor', 'ImgDataPreprocessor')),
        (mmcv.transforms, ('CenterCrop', 'Compose', 'LoadImageFromFile',
                           'Normalize', 'Pad', 'RandomApply', 'RandomChoice',
                           'RandomFlip', 'RandomGrayscale', 'Resize')),
    ) for name in names)
# A file back end may import modules from a folder that an argument names.
_REFUSED_ARGUMENTS = ('backend_args', 'file_client_args', 'init_cfg')
_MAX_DEPTH = 50
# In characters. A config has a few thousand, and parsing takes a hundred
# times as much memory.
_MAX_LENGTH = 1 << 20


def read_stored_config(text: str, checkpoint: str,
                       modules: Sequence[str] = ()) -> Config:
    """Read the config that is stored in a checkpoint, without trusting it.

    The config is parsed as data, and only the model and the test pipeline are
    kept. Each ``type`` in them, at any depth, must be the registered name of
    a class of mmad, of one of a few harmless classes of MMEngine and MMCV, or
    of a class that is defined in ``modules``. The names are replaced by the
    classes, so nothing is looked up by name later. Nothing is built.

    Args:
        text (str): Text of the config, as dumped by MMEngine.
        checkpoint (str): Path of the checkpoint, for the messages.
        modules (Sequence[str]): Names of imported modules whose registered
            classes, and those of their submodules, are allowed as well.

    Returns:
        Config: Config with ``model`` and, if there is a test pipeline,
        ``test_dataloader.dataset.pipeline``.

    Raises:
        InputError: If the config is not plain data, has no model, or names a
            class that is not allowed.
    """
    stored = _parse(text, checkpoint)
    model = stored.get('model')
    if not isinstance(model, dict):
        raise InputError(f'the config stored in checkpoint "{checkpoint}" '
                         'has no `model`; give the config file with '
                         '`config=`.')
    reader = _Reader(stored, checkpoint, modules)
    config: dict[str, Any] = dict(model=reader.read(model, MODELS, 'model'))
    kind = config['model'].get('type')
    if not (isinstance(kind, type) and issubclass(kind, BaseDetector)):
        raise InputError(
            f'checkpoint "{checkpoint}" is of a '
            f'{getattr(kind, "__name__", None)}, which is no detector and '
            'cannot predict; give the checkpoint of a detector.')
    pipeline = find_pipeline(stored, f'stored in checkpoint "{checkpoint}"')
    if pipeline is not None:
        config['test_dataloader'] = dict(
            dataset=dict(
                pipeline=reader.read(pipeline, TRANSFORMS, 'pipeline')))
    return Config(config)


@contextmanager
def explain_errors(checkpoint: str | None) -> Iterator[None]:
    """Raise an :class:`~mmad.errors.InputError` for errors of a stored config.

    Args:
        checkpoint (str, optional): Path of the checkpoint with the config;
            None if the config is trusted, so that other errors are bugs.
    """
    try:
        yield
    except InputError:
        raise
    # The config of an untrusted checkpoint can cause any error anywhere. The
    # traceback is kept as the cause.
    except Exception as error:
        if checkpoint is None:
            raise
        raise InputError(
            f'images cannot be scored with the model and the test pipeline '
            f'in checkpoint "{checkpoint}" ({summarize_error(error)}); give '
            'the config file with `config=`.') from error


class _Reader:
    """Replaces the class names in a config by the classes."""

    def __init__(self, stored: dict, checkpoint: str,
                 modules: Sequence[str]) -> None:
        self.checkpoint = checkpoint
        self.modules = tuple(modules)
        self.hint = _own_modules(stored)

    def read(self, node: object, registry: Registry, place: str) -> object:
        if place.count('[') + place.count('.') > _MAX_DEPTH:
            self.refuse(place[:60] + '...', node)
        if isinstance(node, list | tuple):
            return type(node)(self.read(value, registry, f'{place}[{number}]')
                              for number, value in enumerate(node))
        if not isinstance(node, dict):
            return node
        if node.get('_scope_', 'mmad') != 'mmad':
            self.refuse(f'{place}._scope_', node['_scope_'])
        kind = None
        if 'type' in node:
            kind = self.find(node['type'], registry, place)
            if any(_is_within(kind, module) for module in self.modules):
                # The weights are in the checkpoint.
                node = {
                    key: None if key == 'init_cfg' else value
                    for key, value in node.items()
                }
        for key in _REFUSED_ARGUMENTS:
            if node.get(key) is not None:
                self.refuse(f'{place}.{key}', node[key])
        found = {
            key: self.read(value, registry, f'{place}.{key}')
            for key, value in node.items() if key not in ('_scope_', 'type')
        }
        return found if kind is None else dict(found, type=kind)

    def find(self, name: object, registry: Registry, place: str) -> Callable:
        """Find the class that a name stands for, without importing anything.

        The name is ``'Name'``, ``'scope.Name'``, or as in lazy configs
        ``'module.Name'``. A model or a transform of ``modules`` need not be
        registered if it is named by its module.
        """
        if isinstance(name, str):
            registry.import_from_location()
            prefix, _, last = name.rpartition('.')
            own = (registry, registry.parent)
            # Also look in the registries of other packages, whose classes
            # `modules` may allow.
            for each in (*own, *registry.parent.children.values()):
                found = each.module_dict.get(last)
                if found is not None and self.allows(found) and (
                        prefix == each.scope or (not prefix and each in own)
                        or self.exports(prefix, last, found)):
                    return found
            found = vars(sys.modules.get(prefix, object)).get(last)
            if (isinstance(found, type)
                    and issubclass(found, nn.Module | BaseTransform)
                    and any(_is_within(found, own) for own in self.modules)):
                return found
        return self.refuse(f'{place}.type', name)

    def allows(self, kind: Callable) -> bool:
        return kind in _FOREIGN or any(
            _is_within(kind, module) for module in ('mmad', *self.modules))

    def exports(self, prefix: str, name: str, kind: Callable) -> bool:
        """Return whether ``prefix.name`` is this class."""
        return _is_within(kind, prefix) or (prefix.startswith(
            ('mmad.', 'mmcv.', 'mmengine.')) and vars(
                sys.modules.get(prefix, object)).get(name) is kind)

    def refuse(self, place: str, value: object) -> NoReturn:
        value = repr(value)
        if len(value) > 60:
            value = value[:60] + '...'
        place = printable(place[:200])
        hint = (f', or name the modules that define it: modules={self.hint}'
                if self.hint else '')
        raise InputError(
            f'the config stored in checkpoint "{self.checkpoint}" has '
            f'`{place}` {value}, and a checkpoint may only name classes of '
            'mmad; if you trust this one, give the config file with '
            f'`config=`{hint}.')


def _is_within(kind: Callable, package: str) -> bool:
    # A registry may also contain objects without a module, such as a partial.
    module = getattr(kind, '__module__', '')
    return module == package or module.startswith(package + '.')


def _own_modules(stored: dict) -> list[str]:
    """Return the modules of the user that the training imported."""
    imports = stored.get('custom_imports')
    names = imports.get('imports') if isinstance(imports, dict) else None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple):
        return []
    return [
        name for name in names
        if isinstance(name, str) and len(name) < 80 and all(
            part.isidentifier() for part in name.split('.'))
    ][:5]


def _parse(text: object, checkpoint: str) -> dict:
    try:
        return {
            name: ast.literal_eval(_DictCalls().visit(value))
            for name, value in _assignments(text)
        }
    # literal_eval raises any of these for what is not a literal, or is nested
    # too deeply.
    except (AttributeError, IndexError, KeyError, MemoryError, RecursionError,
            SyntaxError, TypeError, ValueError) as error:
        raise InputError(
            f'the config stored in checkpoint "{checkpoint}" contains more '
            'than plain values; give the config file with `config=` '
            'instead.') from error


def _assignments(text: object) -> Iterator[tuple[str, ast.AST]]:
    # Only str: bytes could declare their own encoding.
    if not isinstance(text, str) or len(text) > _MAX_LENGTH:
        raise ValueError('no text of a config')
    for statement in ast.parse(text).body:
        if not isinstance(statement, ast.Assign):
            raise ValueError(f'{type(statement).__name__} in a config')
        target, = statement.targets
        yield target.id, statement.value  # type: ignore[attr-defined]


class _DictCalls(ast.NodeTransformer):
    """Replaces the calls and names in a dumped config by literals.

    MMEngine writes ``dict(key=value)``, ``dict({'any key': value},
    key=value)``, ``inf`` and ``nan``. Other calls and names are not changed.
    Integers of more than 64 bits are refused, since they can neither be
    printed nor compared with other numbers.
    """

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, int) and node.value >= 1 << 63:
            raise ValueError('an integer is too large')
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in ('inf', 'nan'):
            return ast.Constant(float(node.id))
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        first = node.args[0] if len(node.args) == 1 else ast.Dict([], [])
        if (getattr(node.func, 'id', None) != 'dict' or len(node.args) > 1
                or not isinstance(first, ast.Dict)):
            return node
        return ast.Dict(
            [
                *first.keys,
                *(
                    k.arg and ast.Constant(k.arg)  # type: ignore[list-item]
                    for k in node.keywords)
            ],
            [*first.values, *(k.value for k in node.keywords)])
