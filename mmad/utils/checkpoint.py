"""Read checkpoints without running code from them."""
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import _process_mmcls_checkpoint

from mmad.errors import InputError

from .remote_files import find_checkpoint


def load_checkpoint(filename: str | Path, map_location=None) -> dict:
    """Read a checkpoint of MMEngine with ``weights_only=True``.

    A file may contain tensors, plain containers and the training log of
    MMEngine (``HistoryBuffer``, NumPy scalars and arrays). A file with
    anything else is refused, wherever it comes from.

    Args:
        filename (str | Path): Local path, also as ``file://``; URL of a
            checkpoint; or name in one of the model zoos of MMEngine, such as
            ``'torchvision://resnet18'``. A remote file is downloaded once,
            into the folder ``checkpoints`` of :func:`torch.hub.get_dir`.
        map_location: See :func:`torch.load`.

    Raises:
        InputError: If the file is missing, broken, damaged or unsafe, or
            cannot be downloaded.
    """
    filename = str(filename)
    state = _read(find_checkpoint(filename), filename, map_location)
    # Remove `config`, which the runner of MMEngine would run as Python when
    # it resumes. Use dict.items, since an OrderedDict from a file may have
    # overridden methods.
    if 'meta' in state and isinstance(state['meta'], dict):
        state['meta'] = {
            key: value
            for key, value in dict.items(state['meta']) if key != 'config'
        }
    if filename.startswith('mmcls://') and 'state_dict' in state:
        state = _process_mmcls_checkpoint(state)
    return state


def _read(path: Path, filename: str, map_location) -> dict:
    try:
        if path.exists() and not path.is_file():
            raise InputError(f'checkpoint "{filename}" cannot be read, since '
                             'it is not a regular file; name a file.')
        check_sums(path, filename)
        with torch.serialization.safe_globals(_training_log_globals()):
            state = torch.load(
                path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f'checkpoint "{filename}" does not exist; check the '
                         'path.') from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f'checkpoint "{filename}" was refused: it is broken, or contains '
            'more than tensors and a training log and could run code when '
            'loaded; use one that tools/train.py wrote.') from error
    except InputError:
        raise
    # PyTorch raises many kinds of errors for the content of an untrusted
    # file, including a lack of memory.
    except Exception as error:
        raise InputError(
            f'checkpoint "{filename}" cannot be read and may be truncated '
            f'({type(error).__name__}); copy or write it again.') from error
    if not isinstance(state, dict):
        raise InputError(f'checkpoint "{filename}" contains no state; use one '
                         'that tools/train.py wrote.')
    weights = state.get('state_dict', {})
    if not isinstance(weights, dict) or not all(
            isinstance(key, str) for key in weights):
        raise InputError(f'checkpoint "{filename}" has a `state_dict` that is '
                         'no dict of named tensors; fit again.')
    return state


def check_sums(path: Path, filename: str) -> None:
    """Verify the checksums of a file, which PyTorch itself does not.

    Args:
        path (Path): File written by PyTorch. Files in the format before
            version 1.6, which is not a zip file, have no checksums.
        filename (str): Name of the file in messages.

    Raises:
        InputError: If a checksum is wrong, or the unpacked content is larger
            than the file.
    """
    if not path.exists() or not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(entry.file_size for entry in file.infolist())
            if size > path.stat().st_size:
                raise InputError(
                    f'the file "{filename}" was refused: it unpacks to '
                    f'{size} bytes, more than its size; use one that '
                    'torch.save wrote, which does not compress.')
            damaged = file.testzip()
    # A damaged header causes any of these.
    except (NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error):
        damaged = 'a header'
    if damaged is not None:
        raise InputError(
            f'the file "{filename}" is damaged (the checksum of {damaged} '
            'is wrong); copy or write it again.')


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """Find the latest checkpoint of a work directory, for ``--resume``.

    MMEngine writes its path to ``last_checkpoint``, but removes older
    checkpoints before that. If a run was killed in between, the newest
    existing checkpoint is returned. ``find_latest_checkpoint`` of MMEngine
    would return a missing file then, or fail.

    Args:
        work_dir (str | Path): Work directory of the run.

    Returns:
        str | None: Path of the checkpoint; None if there is none.
    """
    work_dir = Path(work_dir)
    note = work_dir / 'last_checkpoint'
    if not note.is_file():
        return None
    noted = note.read_text(errors='replace').strip()
    if noted and Path(noted).is_file():
        return noted
    numbered = _numbered(work_dir)
    return str(numbered[max(numbered)]) if numbered else None


def numbered_checkpoints(last: str | Path) -> list[Path]:
    """Find the checkpoints of a training up to a given one.

    Args:
        last (str | Path): Path of a checkpoint.

    Returns:
        list[Path]: The files ``epoch_N.pth`` in its folder with ``N`` at most
        that of the given one, which comes last; the given one alone if its
        name is another.
    """
    last = Path(last)
    numbered = _numbered(last.parent)
    own = next((n for n, path in numbered.items() if path == last), None)
    if own is None:
        return [last]
    return [numbered[number] for number in sorted(numbered) if number <= own]


def _numbered(folder: Path) -> dict[int, Path]:
    stems = {
        path: path.stem.removeprefix('epoch_')
        for path in folder.glob('epoch_*.pth')
    }
    return {
        int(stem): path
        for path, stem in stems.items() if stem.isdecimal()
    }


def register_safe_loader() -> None:
    """Make MMEngine read every checkpoint with :func:`load_checkpoint`.

    This includes URLs and model zoos, for which the loaders of MMEngine would
    run code from the file.
    """

    def load_from_anywhere(filename, map_location=None, logger=None):
        return load_checkpoint(filename, map_location)

    # MMEngine has no public list of its schemes; '' is for local files.
    CheckpointLoader.register_scheme(
        prefixes=['', *CheckpointLoader._schemes],
        loader=load_from_anywhere,
        force=True)


def _get_history_buffer_method(obj, name):
    # The pickle of a HistoryBuffer looks up its methods by name with the
    # builtin getattr, which nothing else may use.
    if obj is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(obj, name)
    raise pickle.UnpicklingError(f'getattr of {name} is not allowed')


def _training_log_globals() -> list:
    rebuild = np.ndarray.__reduce__(np.empty(0))[0]
    scalar = np.float64(0).__reduce__()[0]
    dtypes = {type(np.dtype(kind)) for kind in 'fdilqILQB?'}
    return [
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        *dtypes,
        rebuild,
        scalar,
        # The names of the same two functions in NumPy 1.
        (rebuild, 'numpy.core.multiarray._reconstruct'),
        (scalar, 'numpy.core.multiarray.scalar'),
        (_get_history_buffer_method, 'builtins.getattr')
    ]
