"""Reading classification data sets into arrays."""
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torchvision

from mmad.errors import InputError

# What torchvision looks for first below its root.
_FILES = dict(
    MNIST='MNIST/raw/train-images-idx3-ubyte',
    FashionMNIST='FashionMNIST/raw/train-images-idx3-ubyte',
    CIFAR10='cifar-10-batches-py/data_batch_1')
NAMES = (*_FILES, 'digits')
# scikit-learn's digits come without a split; they are in order of writing.
_NUM_TRAIN_DIGITS = 1000


def load_classification_set(
        name: str,
        root: Path,
        train: bool,
        download: bool = False) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read the training or test part of a data set of ten classes.

    Args:
        name (str): ``'MNIST'``, ``'FashionMNIST'``, ``'CIFAR10'`` of
            torchvision or ``'digits'`` of scikit-learn, which needs no files
            and of which the first 1000 are the training part.
        root (Path): Folder as torchvision fills it.
        train (bool): The training part rather than the test part.
        download (bool): Let torchvision fetch what is missing. Defaults to
            False.

    Returns:
        tuple[np.ndarray, np.ndarray, list[str]]: Images ``(N, H, W)`` gray
        or ``(N, H, W, 3)`` RGB, uint8; labels ``(N,)`` int64; the names of
        the ten classes, which can name files.

    Raises:
        InputError: The files are missing or broken, or cannot be fetched.
    """
    if name == 'digits':
        return _load_digits(train)
    make = getattr(torchvision.datasets, name)
    try:
        if download:
            _download(make, name, root)
        data = make(str(root), train=train)
    # The readers of torchvision report a broken file in any of these.
    except (RuntimeError, OSError, ValueError, EOFError, KeyError,
            AssertionError) as error:
        raise InputError(
            f'{name} cannot be read from "{root}" ({type(error).__name__}); '
            f'torchvision.datasets.{name} expects "{root / _FILES[name]}" and '
            'what belongs to it. Name the place with --data-root, or remove '
            'what is broken there and set `download=True` in the config\'s '
            'data sets.') from error
    classes = [text.split(' - ')[0].replace('/', '-') for text in data.classes]
    return np.asarray(data.data), np.asarray(data.targets, np.int64), classes


def _download(make: Callable, name: str, root: Path) -> None:
    top = _FILES[name].split('/')[0]
    if (root / top).exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
            dir=root, prefix=f'.{name}.') as temporary:
        make(temporary, download=True)
        try:
            os.rename(Path(temporary, top), root / top)
        except OSError:  # another process may have been faster
            if not (root / top).exists():
                raise


def _load_digits(train: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
    from sklearn.datasets import load_digits  # slow to import, rarely needed
    digits = load_digits()
    part = np.s_[:_NUM_TRAIN_DIGITS] if train else np.s_[_NUM_TRAIN_DIGITS:]
    images = np.round(digits.images[part] * (255 / 16)).astype(np.uint8)
    labels = digits.target[part].astype(np.int64)
    return images, labels, [str(label) for label in range(10)]
