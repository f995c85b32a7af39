"""Reading config files, and refusing keys in them that nothing reads."""
import difflib
import importlib
import inspect
import traceback
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from mmad.errors import InputError

from .config_names import ConfigFile, fill_in_variables, read_names

# The arguments of the runner, and what it reads without taking it as one.
KEYS = frozenset(inspect.signature(Runner).parameters) - {'cfg'} | {
    'activation_checkpointing', 'compile', 'custom_imports',
    'efficient_conv_bn_eval', 'find_unused_parameters', 'model_wrapper_cfg',
    'sync_bn'
}
# What people set at top level, where no run reads it, and what to do instead.
_READ_ELSEWHERE = dict(
    data_root='use --data-root, or set train_dataloader.dataset.data_root '
    'and the same of the other loaders',
    category='use --category, or set train_dataloader.dataset.category and '
    'the same of the other loaders',
    pipeline='set train_dataloader.dataset.pipeline and the same of the '
    'other loaders',
    dataset='set train_dataloader.dataset and the same of the other loaders',
    tta_model="use dict(type='PrepareTTAHook', tta_cfg=tta_model) in "
    '`custom_hooks` for test-time augmentation',
    tta_pipeline='set it with the `tta_cfg` of the PrepareTTAHook, or as '
    'test_dataloader.dataset.pipeline',
    runner_type='the tools use the ordinary runner')


def read_config(path: str | Path) -> Config:
    """Read a config file and its bases.

    Helper variables, which the files themselves use further down, are left
    out, so the result can be dumped and read again.

    Args:
        path (str | Path): Python, YAML or JSON.

    Returns:
        Config: Its keys are among :data:`KEYS`.

    Raises:
        InputError: A file is missing or no config, running it fails, or it
            has a top-level key that nothing reads.
    """
    chain = read_names(path)
    try:
        cfg = Config.fromfile(str(chain.path), import_custom_modules=False)
    # A config is a program: whatever it raises is what is wrong with it.
    except (Exception, SystemExit) as error:
        raise InputError(_what_failed(error, chain)) from error
    dead = chain.dead_names()
    # What the files do not assign by name (by exec, or in another package)
    # cannot be judged.
    for name in [name for name in cfg if name not in KEYS]:
        if name in dead:
            raise InputError(
                f'nothing reads the key `{name}` of config "{dead[name]}"; '
                f'{hint(name)}')
        # Not by popping, which would import what a lazy config names.
        del cfg._cfg_dict[name]
    _import_modules(cfg, path)
    _fill_in(cfg._cfg_dict, chain.path)
    _import_types(cfg._cfg_dict, chain.path)
    return cfg


def hint(name: str) -> str:
    """What to do about an unknown top-level key."""
    if name in _READ_ELSEWHERE:
        return f'{_READ_ELSEWHERE[name]}.'
    return nearest(name, KEYS) or 'remove it, or use it further down.'


def nearest(name: str, known: Iterable[str]) -> str:
    """Ask whether the known name most like an unknown one was meant."""
    close = difflib.get_close_matches(str(name), sorted(known), 1)
    return f'did you mean `{close[0]}`?' if close else ''


def is_module_name(name: object) -> bool:
    """Whether a name has the form of a module, ``'package.module'``."""
    return isinstance(name, str) and all(part.isidentifier()
                                         for part in name.split('.'))


def _what_failed(error: BaseException, chain: ConfigFile) -> str:
    where = f'config "{chain.path}"'
    paths = {path.resolve(): path for path in chain.all_paths()}
    for frame in traceback.extract_tb(error.__traceback__):
        path = paths.get(Path(frame.filename).resolve())
        if path is not None:
            where = f'config "{path}", line {frame.lineno},'
    text = ' '.join(str(error).split())
    return (f'{where} cannot be read: {type(error).__name__}: '
            f'{text[:300]}.')


def _fill_in(node: object, path: Path) -> object:
    """Replace environment variables, which MMEngine leaves in lazy configs."""
    if isinstance(node, str):
        return fill_in_variables(node, path)
    if isinstance(node, list | tuple):
        return type(node)(_fill_in(value, path) for value in node)
    if isinstance(node, dict):
        # By the methods of dict: those of a lazy config import what it names.
        for key, value in list(dict.items(node)):
            dict.__setitem__(node, key, _fill_in(value, path))
    return node


def _import_types(node: object, path: Path) -> None:
    """Import what a lazy config names, which its dicts do when they are read.

    Raises:
        InputError: There is no such module, or nothing of that name in it.
    """
    if not isinstance(node, dict | list | tuple):
        return
    try:
        values = list(node.values() if isinstance(node, dict) else node)
    except ImportError as error:
        raise InputError(
            f'config "{path}" imports what cannot be found '
            f'({" ".join(str(error).split())}); mind the spelling, and the '
            'folder of a module of your own must be in PYTHONPATH.') from error
    for value in values:
        _import_types(value, path)


def _import_modules(cfg: Config, path: str | Path) -> None:
    """Import what ``custom_imports`` names.

    Raises:
        InputError: A module cannot be imported.
    """
    wanted = cfg.get('custom_imports')
    if wanted is None:
        return
    known = {'imports', 'allow_failed_imports'}
    if not isinstance(wanted, dict) or not set(wanted) <= known:
        raise InputError(
            f'`custom_imports` of config "{path}" must be a dict with the '
            'keys `imports`, a list of modules, and `allow_failed_imports`.')
    modules = wanted.get('imports') or []
    modules = [modules] if isinstance(modules, str) else modules
    if not isinstance(modules, list | tuple) or not all(
            map(is_module_name, modules)):
        raise InputError(f'`custom_imports.imports` of config "{path}" must '
                         f'be a list of modules, got {modules!r}.')
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            if wanted.get('allow_failed_imports'):
                continue
            raise InputError(
                f'`custom_imports` of config "{path}" names the module '
                f'"{module}", which cannot be imported ({error}); the folder '
                'that holds it must be in PYTHONPATH.') from error
