"""Read config files, and refuse keys in them that nothing reads."""
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

# The arguments of the runner, and the other keys that it reads.
KEYS = frozenset(inspect.signature(Runner).parameters) - {'cfg'} | {
    'activation_checkpointing', 'compile', 'custom_imports',
    'efficient_conv_bn_eval', 'find_unused_parameters', 'model_wrapper_cfg',
    'sync_bn'
}
# Keys that have no effect at top level, and what to do instead.
_ADVICE = dict(
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

    Helper variables, which only the files themselves use, are removed, so the
    config can be dumped and read again.

    Args:
        path (str | Path): Path of a Python, YAML or JSON file, or the name of
            a config of mmad.

    Returns:
        Config: Config with keys among :data:`KEYS`.

    Raises:
        InputError: If a file is missing or not a config, running it fails, or
            it has a top-level key that nothing reads.
    """
    chain = read_names(path)
    try:
        cfg = Config.fromfile(str(chain.path), import_custom_modules=False)
    # A config is a program, so it can raise any exception.
    except (Exception, SystemExit) as error:
        raise InputError(_describe_failure(error, chain)) from error
    dead = chain.unread_names()
    # For a key that is assigned otherwise (by exec, or in another package), it
    # is not known whether the files use it.
    for name in [name for name in cfg if name not in KEYS]:
        if name in dead:
            raise InputError(
                f'nothing reads the key `{name}` of config "{dead[name]}"; '
                f'{advise_on_key(name)}')
        # `pop` would import what a lazy config names.
        del cfg._cfg_dict[name]
    _import_modules(cfg, path)
    _fill_in(cfg._cfg_dict, chain.path)
    _import_types(cfg._cfg_dict, chain.path)
    return cfg


def advise_on_key(name: str) -> str:
    """Return what to do about an unknown top-level key."""
    if name in _ADVICE:
        return f'{_ADVICE[name]}.'
    return nearest(name, KEYS) or 'remove it, or use it further down.'


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the known name that is most similar to an unknown one."""
    close = difflib.get_close_matches(str(name), sorted(known), 1)
    return f'did you mean `{close[0]}`?' if close else ''


def is_module_name(name: object) -> bool:
    """Return whether a name has the form of a module name."""
    return isinstance(name, str) and all(part.isidentifier()
                                         for part in name.split('.'))


def _describe_failure(error: BaseException, chain: ConfigFile) -> str:
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
        # The methods of a lazy config would import what it names.
        for key, value in list(dict.items(node)):
            dict.__setitem__(node, key, _fill_in(value, path))
    return node


def _import_types(node: object, path: Path) -> None:
    """Import the classes that a lazy config names.

    The dicts of a lazy config import them when their values are read.

    Raises:
        InputError: If a module does not exist, or has nothing of that name.
    """
    if not isinstance(node, dict | list | tuple):
        return
    try:
        values = list(node.values() if isinstance(node, dict) else node)
    except ImportError as error:
        raise InputError(
            f'config "{path}" imports what cannot be found '
            f'({" ".join(str(error).split())}); check the spelling, and add '
            'the folder of a module of your own to PYTHONPATH.') from error
    for value in values:
        _import_types(value, path)


def _import_modules(cfg: Config, path: str | Path) -> None:
    """Import the modules that ``custom_imports`` names.

    Raises:
        InputError: If a module cannot be imported.
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
                f'"{module}", which cannot be imported ({error}); add the '
                'folder that contains it to PYTHONPATH.') from error
