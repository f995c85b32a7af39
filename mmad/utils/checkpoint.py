"""Reading checkpoints without running what is in them."""
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

    Besides tensors and plain containers only the training log that MMEngine
    stores (``HistoryBuffer``, numpy scalars and arrays) is let through; a
    file that asks for anything else is refused, wherever it comes from.

    Args:
        filename (str | Path): Local path, also as ``file://``; the URL of a
            checkpoint, or a name of MMEngine's model zoos such as
            ``'torchvision://resnet18'``, which are downloaded into the folder
            ``checkpoints`` of :func:`torch.hub.get_dir` once.
        map_location: As in :func:`torch.load`.

    Raises:
        InputError: The file is missing, broken, damaged in any byte or
            unsafe, or cannot be downloaded.
    """
    filename = str(filename)
    state = _read(find_checkpoint(filename), filename, map_location)
    # By the operators, since an OrderedDict of a file may bring methods of
    # its own. MMEngine's runner would run `config` as Python when it resumes.
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
            raise InputError(f'checkpoint "{filename}" cannot be read, it is '
                             'no ordinary file.')
        check_sums(path, filename)
        with torch.serialization.safe_globals(_log_globals()):
            state = torch.load(
                path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f'checkpoint "{filename}" does not exist.') from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f'checkpoint "{filename}" was refused: it is broken or holds '
            'more than tensors and a training log, and could run code when '
            'loaded.') from error
    except InputError:
        raise
    # Anybody may have written the file: torch and what it calls raise many
    # kinds of errors for what is in it, up to a lack of memory.
    except Exception as error:
        raise InputError(
            f'checkpoint "{filename}" cannot be read, it may be truncated '
            f'({type(error).__name__}).') from error
    if not isinstance(state, dict):
        raise InputError(f'checkpoint "{filename}" holds no state; it must be '
                         'one that tools/train.py wrote.')
    weights = state.get('state_dict', {})
    if not isinstance(weights, dict) or not all(
            isinstance(key, str) for key in weights):
        raise InputError(f'checkpoint "{filename}" has a `state_dict` that is '
                         'no dict of named tensors; fit again.')
    return state


def check_sums(path: Path, filename: str) -> None:
    """Check the sums of a file, since torch loads damaged bytes.

    Args:
        path (Path): The file, of any form that torch writes. Only the newer
            one, which is a zip file, has check sums.
        filename (str): What the message calls it.

    Raises:
        InputError: A check sum is wrong, or the file unpacks to more than its
            size.
    """
    if not path.exists() or not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(entry.file_size for entry in file.infolist())
            if size > path.stat().st_size:
                raise InputError(
                    f'the file "{filename}" was refused: it unpacks to '
                    f'{size} bytes, more than it has; it must be one that '
                    'torch.save wrote, which compresses nothing.')
            damaged = file.testzip()
    # What a damaged header makes of it.
    except (NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error):
        damaged = 'a header'
    if damaged is not None:
        raise InputError(
            f'the file "{filename}" is damaged (the check sum of {damaged} '
            'is wrong); copy or write it again.')


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """Find the checkpoint of a work directory that ``--resume`` goes on from.

    MMEngine notes it in ``last_checkpoint``, but first removes earlier ones
    and then writes that file in place. Where a run was killed in between, the
    newest checkpoint that is there counts; ``find_latest_checkpoint`` of
    MMEngine would name one that is gone, or fail.

    Args:
        work_dir (str | Path): Of the run.

    Returns:
        str | None: Its path; None if there is none.
    """
    work_dir = Path(work_dir)
    note = work_dir / 'last_checkpoint'
    if not note.is_file():
        return None
    noted = note.read_text(errors='replace').strip()
    if noted and Path(noted).is_file():
        return noted
    numbered = [
        path for path in work_dir.glob('epoch_*.pth')
        if path.stem.removeprefix('epoch_').isdecimal()
    ]
    newest = max(
        numbered,
        default=None,
        key=lambda path: int(path.stem.removeprefix('epoch_')))
    return None if newest is None else str(newest)


def register_safe_loader() -> None:
    """Make MMEngine read every checkpoint through :func:`load_checkpoint`.

    That is whatever its name begins with: MMEngine's own readers of URLs and
    model zoos would run code from the file.
    """

    def load_from_anywhere(filename, map_location=None, logger=None):
        return load_checkpoint(filename, map_location)

    # MMEngine offers no list of its schemes, and '' is that of local files.
    CheckpointLoader.register_scheme(
        prefixes=['', *CheckpointLoader._schemes],
        loader=load_from_anywhere,
        force=True)


def _history_buffer_getattr(obj, name):
    # HistoryBuffer pickles its own methods by name; nothing else may use the
    # builtin.
    if obj is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(obj, name)
    raise pickle.UnpicklingError(f'getattr of {name} is not allowed')


def _log_globals() -> list:
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
        # Names of the same two under numpy 1.
        (rebuild, 'numpy.core.multiarray._reconstruct'),
        (scalar, 'numpy.core.multiarray.scalar'),
        (_history_buffer_getattr, 'builtins.getattr')
    ]
