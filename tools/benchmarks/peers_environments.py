"""The Python environments of the peers of ``peers.py``."""
import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

from mmad.errors import InputError

ANOMALIB = '2.7.0'
# adeval needs a function that NumPy 2.4 no longer has.
PACKAGES = dict(
    anomalib=[f'anomalib=={ANOMALIB}'], adeval=['adeval', 'numpy<2.4'])


def default_cache() -> Path:
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base, 'mmad', 'peers')


def find_python(peer: str, given: str | None, cache: Path) -> str:
    """Return the interpreter of a peer, whose environment is made if absent.

    Args:
        peer (str): ``'mmad'``, ``'loop'``, ``'anomalib'`` or ``'adeval'``.
        given (str, optional): Interpreter to use.
        cache (Path): Folder of the environments.

    Raises:
        InputError: The interpreter cannot import the peer, or its packages
            cannot be installed.
    """
    if peer not in PACKAGES:
        return sys.executable
    if given is not None:
        python = shutil.which(given)
        if python is None or not _imports(python, peer):
            raise InputError(
                f'"{given}" is no Python interpreter that can import {peer}; '
                'name that of an environment with it, or leave the option '
                'out to have one made.')
        return python
    folder = cache / peer
    python = str(folder / ('Scripts' if os.name == 'nt' else 'bin') / 'python')
    if os.path.isfile(python) and _imports(python, peer):
        return python
    print(f'Installing {peer} into {folder} ...', flush=True)
    venv.create(folder, with_pip=True, clear=True)
    # The same PyTorch as that of mmad.
    same = [
        f'{name}=={version(name).split("+")[0]}'
        for name in ('torch', 'torchvision')
    ]
    done = subprocess.run(
        [python, '-m', 'pip', 'install', '--quiet', *PACKAGES[peer], *same],
        stderr=subprocess.PIPE,
        text=True)
    if done.returncode or not _imports(python, peer):
        reason = ' '.join(done.stderr.split()[-40:]) or 'it does not import'
        raise InputError(
            f'{peer} cannot be installed into "{folder}" ({reason}); install '
            'it into an environment of its own and name its interpreter with '
            f'--{peer}.')
    return python


def _imports(python: str, peer: str) -> bool:
    return subprocess.run([python, '-c', f'import {peer}'],
                          stderr=subprocess.DEVNULL).returncode == 0
