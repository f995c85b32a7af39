"""Find the local file of a checkpoint, and download it if necessary."""
import hashlib
import re
from http.client import HTTPException
from pathlib import Path
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

import torch
from filelock import FileLock
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmad.errors import InputError

_ZOOS = ('torchvision', 'modelzoo', 'openmmlab', 'open-mmlab', 'mmcls')

# Files of these hosts keep their names in the cache, where torchvision and
# MMEngine look for them. Files of other hosts do not: the hash in their names
# is so short that it can be forged.
_SHARED = ('https://download.pytorch.org/', 'https://download.openmmlab.com/')


def find_checkpoint(filename: str) -> Path:
    """Find the local file of a checkpoint, and download it if necessary.

    Args:
        filename (str): Path, URL (``file``, ``http`` or ``https``), or name
            of a model in one of the model zoos of MMEngine, such as
            ``'torchvision://resnet18'``.

    Returns:
        Path: Path of the local file. If a path was given, it need not exist.

    Raises:
        InputError: If the scheme or the model is unknown, or the download
            fails.
    """
    scheme, separator, name = filename.partition('://')
    if not separator:
        return _expand(filename)
    scheme = scheme.lower()
    if scheme == 'file':
        parts = _split(filename)
        if parts.netloc not in ('', 'localhost'):
            raise InputError(f'checkpoint "{filename}" is on another host; '
                             'give a local path.')
        return Path(url2pathname(parts.path))
    if scheme in _ZOOS:
        filename = _look_up(scheme, name)
        scheme = filename.partition('://')[0]
    if scheme not in ('http', 'https'):
        raise InputError(
            f'checkpoint "{filename}" cannot be fetched: mmad reads local '
            'files, http://, https:// and '
            f'{", ".join(f"{zoo}://" for zoo in _ZOOS)}; copy it here and '
            'give its path.')
    return _download(filename)


def _expand(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # the user in ~user does not exist
        return Path(path)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise InputError(f'checkpoint "{url}" is no valid URL ({error}); '
                         'correct it.') from error


def _look_up(zoo: str, name: str) -> str:
    """Return the URL of a model in a model zoo of MMEngine."""
    if zoo in ('torchvision', 'modelzoo'):
        urls = mmengine_checkpoint.get_torchvision_models()
    elif zoo == 'mmcls':
        urls = mmengine_checkpoint.get_mmcls_models()
    else:
        urls = mmengine_checkpoint.get_external_models()
        renamed = mmengine_checkpoint.get_deprecated_model_names()
        name = renamed.get(name, name)
    if name not in urls:
        raise InputError(f'there is no model "{name}" in {zoo}://; give the '
                         'path of a local file.')
    return urls[name]


def _download(url: str) -> Path:
    """Download a file into the cache of PyTorch, unless it is there."""
    name = Path(_split(url).path).name or 'checkpoint'
    digest = re.search(r'-([0-9a-f]{8,})\.', name)
    if digest is None or not url.startswith(_SHARED):
        # Make the name unique, since many files are called epoch_1.pth.
        name = f'{hashlib.sha256(url.encode()).hexdigest()[:16]}-{name}'
    path = Path(torch.hub.get_dir(), 'checkpoints', name)
    try:
        if path.is_file():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Only one of several processes downloads the file.
        with FileLock(f'{path}.lock'):
            if not path.is_file():
                torch.hub.download_url_to_file(url, str(path), digest
                                               and digest[1])
    # Raised by urllib for a wrong URL or without a network, and by PyTorch for
    # a wrong hash.
    except (HTTPException, OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f'checkpoint "{url}" cannot be downloaded ({error}); download it '
            'by other means and give its path.') from error
    return path
