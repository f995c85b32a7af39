"""Check the files and folders that a run reads and writes."""
import os
import tempfile
from pathlib import Path

from mmengine.config import Config

from mmad.errors import InputError

from .safe_path import leads_outside
from .weights import find_backbones


def check_folder(folder: str | Path, option: str) -> None:
    """Check that files can be written to a folder, which need not exist.

    Nothing is created, except for a temporary file without a name in the
    nearest folder that exists.

    Args:
        folder (str | Path): Folder for files.
        option (str): Name of the option, for the message.

    Raises:
        InputError: If a part of the path is a file or a broken link, or
            writing fails.
    """
    if not str(folder):
        raise InputError(f'{option} is empty; name a folder.')
    path = Path(folder)
    reason = None
    try:
        # Check every part, to find a name that is too long.
        there = [
            part for part in (path, *path.absolute().parents)
            if os.path.lexists(part)
        ]
        path.absolute().lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or str(error)
    if reason is None:
        if any(len(os.fsencode(part)) > 255 for part in path.parts):
            reason = 'a name is too long'
        elif not there[0].is_dir():
            reason = f'"{there[0]}" is ' + (
                'a link to nothing' if there[0].is_symlink()
                and not there[0].exists() else 'not a folder')
        else:
            try:
                # os.access would not detect a read-only or full disk.
                with tempfile.TemporaryFile(dir=there[0]) as file:
                    file.write(bytes(4096))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                reason = f'"{there[0]}": {error.strerror}'
    if reason is not None:
        raise InputError(f'{option} "{folder}" cannot be written to '
                         f'({reason}); choose another place.')


def check_file(file: str | Path, option: str) -> None:
    """Check that a file can be written or replaced.

    Args:
        file (str | Path): Path of the file.
        option (str): Name of the option, for the message.

    Raises:
        InputError: If it is a folder, or its folder cannot be written to.
    """
    if not str(file) or os.path.isdir(file):
        raise InputError(f'{option} "{file}" must be a file, not a folder.')
    check_folder(Path(file).parent, f'{option}: the folder')


def check_category(category: object) -> None:
    """Check that the folder of a category is inside the data set.

    Raises:
        InputError: If the name is absolute, has a part ``..``, or is not a
            valid name.
    """
    if category is None:
        return
    name = str(category)
    if (Path(name) == Path() or leads_outside(name) or ':' in name
            or not name.isprintable()):
        raise InputError(
            f'the category {name!a} is no name of a folder inside '
            'the data set; set the folder of the data set itself with '
            'data_root (--data-root).')


def check_folders(cfg: Config) -> None:
    """Check that the folders of hooks and visualizers can be written to.

    Raises:
        InputError: If files cannot be written to one of them.
    """
    parts = {
        f'default_hooks.{name}': hook
        for name, hook in (cfg.get('default_hooks') or {}).items()
    }
    parts.update((f'custom_hooks.{index}', hook)
                 for index, hook in enumerate(cfg.get('custom_hooks') or ()))
    visualizer = parts['visualizer'] = cfg.get('visualizer') or {}
    backends = visualizer.get('vis_backends') or ()
    if isinstance(backends, list | tuple):
        parts.update((f'visualizer.vis_backends.{index}', backend)
                     for index, backend in enumerate(backends))
    for place, part in parts.items():
        for key in ('out_dir', 'save_dir'):
            folder = part.get(key) if isinstance(part, dict) else None
            if isinstance(folder, str) and '://' not in folder:
                check_folder(folder, f'`{place}.{key}`')


def check_files(cfg: Config) -> None:
    """Check that the files that the config names exist.

    The files of teachers are checked when the model is built, whose messages
    say how to get one.

    Raises:
        InputError: If a checkpoint or a file of weights is missing.
    """
    model = cfg.get('model') or {}
    named = {'load_from': cfg.get('load_from')}
    for place, backbone in find_backbones(model).items():
        weights = backbone.get('weights')
        # Otherwise it is the name of published weights.
        if isinstance(weights, str) and ('/' in weights or '.' in weights):
            named[f'{place}.weights'] = weights
    for place, name in named.items():
        if isinstance(name, str) and '://' not in name and not Path(
                name).expanduser().is_file():
            what = 'checkpoint' if place == 'load_from' else 'weights file'
            raise InputError(
                f'{what} "{name}" {what_is_wrong(Path(name).expanduser())}; '
                f'correct `{place}` of the config, or its option.')


def what_is_wrong(file: Path) -> str:
    """Return why a path is not the file that is needed."""
    return 'is no file' if file.exists() else 'does not exist'
