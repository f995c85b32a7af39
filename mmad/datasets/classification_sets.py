"""Read classification data sets into arrays."""
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torchvision

from mmad.errors import InputError

# A file of each data set, relative to the root folder of torchvision.
_FILES = dict(
    MNIST='MNIST/raw/train-images-idx3-ubyte',
    FashionMNIST='FashionMNIST/raw/train-images-idx3-ubyte',
    CIFAR10='cifar-10-batches-py/data_batch_1')
NAMES = (*_FILES, 'digits')
# The digits of scikit-learn have no split. They are sorted by writer.
_NUM_TRAIN_DIGITS = 1000


def load_classification_set(
        name: str,
        root: Path,
        train: bool,
        download: bool = False) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read the training or test part of a data set of ten classes.

    Args:
        name (str): ``'MNIST'``, ``'FashionMNIST'`` or ``'CIFAR10'`` of
            torchvision, or ``'digits'`` of scikit-learn, which needs no files
            and whose first 1000 images are the training part.
        root (Path): Root folder of the data sets of torchvision.
        train (bool): Read the training part instead of the test part.
        download (bool): Let torchvision download missing files. Defaults to
            False.

    Returns:
        tuple[np.ndarray, np.ndarray, list[str]]: Images ``(N, H, W)`` gray
        or ``(N, H, W, 3)`` RGB, uint8; labels ``(N,)`` int64; the names of
        the ten classes, which are valid file names.

    Raises:
        InputError: If the files are missing, broken or cannot be downloaded.
    """
    if name == 'digits':
        return _load_digits(train)
    make = getattr(torchvision.datasets, name)
    try:
        if download:
            _download(make, name, root)
        data = make(str(root), train=train)
    # torchvision raises any of these for a broken file.
    except (RuntimeError, OSError, ValueError, EOFError, KeyError,
            AssertionError) as error:
        raise InputError(
            f'{name} cannot be read from "{root}" ({type(error).__name__}); '
            f'torchvision.datasets.{name} expects "{root / _FILES[name]}" and '
            'the files that belong to it. Name the folder with --data-root, '
            'or remove broken files and set `download=True` in the data sets '
            'of the config.') from error
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
