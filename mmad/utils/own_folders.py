"""Put the folders of the command line into a config."""
import argparse
import os
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

from mmad.errors import InputError
from mmad.registry import DATASETS

from .config_parts import constructor_parameters, find_type, type_name

OPTIONS = ('normal_dir', 'normal_test_dir', 'abnormal_dir', 'mask_dir')
# Names that say what is in a folder, and not which part it shows.
_GENERAL = {'good', 'images', 'img', 'normal', 'ok', 'train'}


def set_own_folders(cfg: Config, args: argparse.Namespace) -> None:
    """Set the folders of the data sets to those of the command line.

    With ``--normal-dir``, they replace all folders of the config. Without,
    each replaces its own, and the masks belong to ``--abnormal-dir``.

    Args:
        cfg (Config): Config whose data sets are changed.
        args (argparse.Namespace): Options of
            :func:`~mmad.command_options.add_folder_arguments`, and
            ``data_root``.

    Raises:
        InputError: If a data set of the config does not take folders, or the
            name of one is empty.
    """
    new = _given(args)
    if not new:
        return
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(loader) is not None:
            _check_takes_folders(loader, cfg[loader].dataset, next(iter(new)))
    if 'normal_dir' in new:
        new = {name: new.get(name) for name in OPTIONS}
    elif 'abnormal_dir' in new:
        new.setdefault('mask_dir', None)
    if args.data_root is None:
        new = _absolute(new)
        if 'normal_dir' in new:
            new = _from_one_root(new)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(loader) is not None:
            cfg[loader].dataset.update(new)


def name_of_part(args: argparse.Namespace) -> str | None:
    """Return the name of the part whose images the command line names.

    Args:
        args (argparse.Namespace): Options of
            :func:`~mmad.command_options.add_folder_arguments`.

    Returns:
        str | None: Name of the first folder of normal images, or of the
        nearest above it that says more than ``good`` or ``train``; None if no
        folder is given.
    """
    folders = getattr(args, 'normal_dir', None)
    if not folders:
        return None
    path = Path(args.data_root or '', folders[0]).expanduser().absolute()
    names = [part.name for part in (path, *path.parents) if part.name]
    return next((name for name in names
                 if name.casefold() not in _GENERAL and name.strip('.')), None)


def _given(args: argparse.Namespace) -> dict:
    given = {}
    for name in OPTIONS:
        value = getattr(args, name, None)
        if value is None:
            continue
        if '' in (value if isinstance(value, list) else [value]):
            raise InputError(f'{_option(name)} is empty; name a folder.')
        given[name] = value[0] if value[1:] == [] else value
    return given


def _check_takes_folders(loader: str, dataset: dict, name: str) -> None:
    kind = find_type(f'{loader}.dataset', dataset, DATASETS)
    arguments = constructor_parameters(kind)
    if arguments is not None and name not in arguments:
        raise InputError(
            f'{_option(name)} is for configs with a FolderDataset, such as '
            'patchcore_resnet18_10pct_folder, or with --data folder; the '
            f'{type_name(dataset.get("type"))} of this config has its own '
            'layout below --data-root.')


def _option(name: str) -> str:
    return f'--{name.replace("_", "-")}'


def _absolute(folders: dict) -> dict:
    return _map(lambda path: os.path.abspath(os.path.expanduser(path)),
                folders)


def _from_one_root(folders: dict) -> dict:
    """Make folders relative to the deepest one that they have in common."""
    paths: list[str] = []
    _map(paths.append, folders)
    try:
        root = os.path.commonpath(paths)
    except ValueError:  # on several drives
        return dict(folders, data_root=os.path.dirname(paths[0]))
    if len(paths) == 1:
        root = os.path.dirname(root)
    return dict(
        _map(lambda path: os.path.relpath(path, root), folders),
        data_root=root)


def _map(change: Callable, folders: dict) -> dict:
    """Apply a function to every path of a setting, a path or a list."""
    return {
        name: [change(path) for path in value]
        if isinstance(value, list) else value and change(value)
        for name, value in folders.items()
    }
