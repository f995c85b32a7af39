"""Reading the config that a checkpoint stores, as data only."""
import ast
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import mmcv.transforms
import mmengine.model
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.registry import Registry
from torch import nn

from mmad.errors import InputError, printable
from mmad.models import BaseDetector
from mmad.registry import MODELS, TRANSFORMS

from .image_pipeline import find_pipeline

# Classes of other packages that neither run, import nor read what an argument
# names. RandomResize runs its `resize_type`, any callable; KeyMapper can make
# the path of an image out of an argument of another step.
_FOREIGN = tuple(
    getattr(module, name) for module, names in (
        (mmengine.model, ('BaseDataPreprocessor', 'ImgDataPreprocessor')),
        (mmcv.transforms, ('CenterCrop', 'Compose', 'LoadImageFromFile',
                           'Normalize', 'Pad', 'RandomApply', 'RandomChoice',
                           'RandomFlip', 'RandomGrayscale', 'Resize')),
    ) for name in names)
# A back end for files may import modules from a folder that it is given.
_REFUSED_ARGUMENTS = ('backend_args', 'file_client_args', 'init_cfg')
_MAX_DEPTH = 50
# A config has a few thousand characters; parsing takes a hundred times the
# memory.
_MAX_LENGTH = 1 << 20


def read_stored_config(text: str, checkpoint: str,
                       modules: Sequence[str] = ()) -> Config:
    """Read the config that a checkpoint stores, without trusting it.

    It is parsed as data, and of it only the model and the test pipeline are
    kept. Each ``type`` in them, at every depth, must be the registered name of
    a class of mmad, of some harmless ones of MMEngine and mmcv, or of a class
    that is defined in ``modules``. The names are replaced by the classes, so
    that nothing is looked up by name later. Nothing is built here.

    Args:
        text (str): As MMEngine dumps a config.
        checkpoint (str): Its path, for the messages.
        modules (Sequence[str]): Names of imported modules whose registered
            classes, and those of their submodules, are allowed as well.

    Returns:
        Config: With ``model`` and, if there is a test pipeline,
        ``test_dataloader.dataset.pipeline``.

    Raises:
        InputError: The config is not plain data, lacks a model, or names
            anything else.
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
            'cannot predict.')
    pipeline = find_pipeline(stored, f'stored in checkpoint "{checkpoint}"')
    if pipeline is not None:
        config['test_dataloader'] = dict(
            dataset=dict(
                pipeline=reader.read(pipeline, TRANSFORMS, 'pipeline')))
    return Config(config)


class _Reader:
    """Replaces the names of classes in a config by the classes."""

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
                # Its weights are in the checkpoint.
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
        """Find the class that a registered name stands for.

        Besides ``'Name'`` and ``'scope.Name'`` that is where it can be
        imported from, which lazy configs hold; of ``modules`` that may be a
        model or a transform that is not registered, too. Nothing is imported.
        """
        if isinstance(name, str):
            registry.import_from_location()
            prefix, _, last = name.rpartition('.')
            own = (registry, registry.parent)
            # Registries of other packages, whose classes `modules` allow.
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
        """Whether ``prefix.name`` is this class."""
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
    # A registry may also hold what has no module, such as a partial.
    module = getattr(kind, '__module__', '')
    return module == package or module.startswith(package + '.')


def _own_modules(stored: dict) -> list[str]:
    """Find the modules of the user's own that the training imported."""
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
    # As literal_eval reports what is no literal, and nesting beyond limits.
    except (AttributeError, IndexError, KeyError, MemoryError, RecursionError,
            SyntaxError, TypeError, ValueError) as error:
        raise InputError(
            f'the config stored in checkpoint "{checkpoint}" holds more than '
            'plain values; give the config file with `config=` '
            'instead.') from error


def _assignments(text: object) -> Iterator[tuple[str, ast.AST]]:
    # Bytes may name an encoding of their own.
    if not isinstance(text, str) or len(text) > _MAX_LENGTH:
        raise ValueError('no text of a config')
    for statement in ast.parse(text).body:
        if not isinstance(statement, ast.Assign):
            raise ValueError(f'{type(statement).__name__} in a config')
        target, = statement.targets
        yield target.id, statement.value  # type: ignore[attr-defined]


class _DictCalls(ast.NodeTransformer):
    """Turns what MMEngine dumps into literals; other calls and names stay.

    That is ``dict(key=value)``, ``dict({'any key': value}, key=value)``,
    ``inf`` and ``nan``. Integers that no array holds are refused: they can
    neither be shown nor compared with other numbers.
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
