"""Finding the local file of a checkpoint, which may have to be fetched."""
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

# Whose files torchvision and MMEngine keep by the hash in their names. It is
# short enough that anybody can make another file to match it.
_SHARED = ('https://download.pytorch.org/', 'https://download.openmmlab.com/')


def find_checkpoint(filename: str) -> Path:
    """Find the local file of a checkpoint, and download it if necessary.

    Args:
        filename (str): A path, a URL (``file``, ``http``, ``https``) or the
            name of a model in a zoo that MMEngine knows, such as
            ``'torchvision://resnet18'``.

    Returns:
        Path: Not necessarily of a file that exists, if a path is given.

    Raises:
        InputError: The scheme or the model is unknown, or the download fails.
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
    except RuntimeError:  # there is no such user
        return Path(path)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise InputError(f'checkpoint "{url}" is no valid URL ({error}); '
                         'correct it.') from error


def _look_up(zoo: str, name: str) -> str:
    """Find the URL of a model in one of MMEngine's tables."""
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
    """Download a file into the folder of torch, unless it is there."""
    name = Path(_split(url).path).name or 'checkpoint'
    digest = re.search(r'-([0-9a-f]{8,})\.', name)
    if digest is None or not url.startswith(_SHARED):
        # Many are called epoch_1.pth.
        name = f'{hashlib.sha256(url.encode()).hexdigest()[:16]}-{name}'
    path = Path(torch.hub.get_dir(), 'checkpoints', name)
    try:
        if path.is_file():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        # One of the processes fetches it.
        with FileLock(f'{path}.lock'):
            if not path.is_file():
                torch.hub.download_url_to_file(url, str(path), digest
                                               and digest[1])
    # As urllib reports a bad URL or no network, and torch a wrong hash.
    except (HTTPException, OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f'checkpoint "{url}" cannot be downloaded ({error}); fetch it '
            'elsewhere and give its path.') from error
    return path
