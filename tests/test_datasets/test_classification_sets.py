import pickle

import numpy as np
import pytest
import torchvision

from mmad.datasets.classification_sets import load_classification_set
from mmad.errors import InputError

LABELS = np.array([3, 9, 0, 3, 5])


def write_mnist(root, name='MNIST'):
    """Both parts in the files of MNIST; the images count upwards."""
    folder = root / name / 'raw'
    folder.mkdir(parents=True)
    images = np.arange(5 * 28 * 28).astype(np.uint8).reshape(5, 28, 28)
    for part in ('train', 't10k'):
        for content, kind in ((images, 'images-idx3'),
                              (LABELS.astype(np.uint8), 'labels-idx1')):
            header = bytes([0, 0, 8, content.ndim]) + np.array(
                content.shape, '>u4').tobytes()
            (folder / f'{part}-{kind}-ubyte').write_bytes(header +
                                                          content.tobytes())
    return images


def write_cifar(root, monkeypatch):
    """A training file in the form of CIFAR-10, without its checksum."""
    cifar = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar, 'train_list', [['data_batch_1', None]])
    monkeypatch.setattr(cifar, 'test_list', [])
    monkeypatch.setattr(
        cifar, 'meta',
        dict(filename='batches.meta', key='label_names', md5=None))
    folder = root / cifar.base_folder
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3),
                                               np.uint8)
    (folder / 'data_batch_1').write_bytes(
        pickle.dumps(
            dict(
                data=images.transpose(0, 3, 1, 2).reshape(5, -1),
                labels=LABELS.tolist())))
    (folder / 'batches.meta').write_bytes(
        pickle.dumps(dict(label_names=[*'abcdefghij'])))
    return images


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('name', ['MNIST', 'FashionMNIST'])
def test_gray(tmp_path, name, train):
    expected = write_mnist(tmp_path, name)
    images, labels, classes = load_classification_set(name, tmp_path, train)
    assert images.dtype == np.uint8
    assert np.array_equal(images, expected)
    assert np.array_equal(labels, LABELS)
    assert len(set(classes)) == 10
    assert classes[3] == ('3' if name == 'MNIST' else 'Dress')
    assert not any('/' in text for text in classes)


def test_color(tmp_path, monkeypatch):
    expected = write_cifar(tmp_path, monkeypatch)
    images, labels, classes = load_classification_set('CIFAR10', tmp_path,
                                                      True)
    assert np.array_equal(images, expected)
    assert np.array_equal(labels, LABELS)
    assert ''.join(classes) == 'abcdefghij'


def test_digits(tmp_path):
    parts = [
        load_classification_set('digits', tmp_path, train)
        for train in (True, False)
    ]
    assert [images.shape for images, *_ in parts] == [(1000, 8, 8),
                                                      (797, 8, 8)]
    for images, labels, classes in parts:
        assert images.dtype == np.uint8
        assert (images.min(), images.max()) == (0, 255)
        assert set(labels.tolist()) == {int(text) for text in classes}


@pytest.mark.parametrize(('name', 'file'), [
    ('MNIST', 'MNIST/raw/train-images-idx3-ubyte'),
    ('FashionMNIST', 'FashionMNIST/raw/train-images-idx3-ubyte'),
    ('CIFAR10', 'cifar-10-batches-py/data_batch_1'),
])
def test_missing_files_are_named(tmp_path, name, file):
    with pytest.raises(
            InputError,
            match=(f'{name} cannot be read from "{tmp_path}".* expects '
                   f'"{tmp_path}/{file}".*--data-root.*download=True')):
        load_classification_set(name, tmp_path, True)


@pytest.mark.parametrize('length', [0, 3, 10, 100])
def test_broken_file(tmp_path, length):
    write_mnist(tmp_path)
    path = tmp_path / 'MNIST/raw/train-images-idx3-ubyte'
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match='MNIST cannot be read from'):
        load_classification_set('MNIST', tmp_path, True)


def test_download_happens_once_and_whole(tmp_path, monkeypatch):
    fetched = []

    def fetch(self):
        fetched.append(self.root)
        write_mnist(tmp_path / 'mirror' / str(len(fetched)))
        source = tmp_path / 'mirror' / str(len(fetched)) / 'MNIST'
        source.rename(f'{self.root}/MNIST')

    monkeypatch.setattr(torchvision.datasets.MNIST, 'download', fetch)
    root = tmp_path / 'data'
    for _ in range(2):
        assert (len(
            load_classification_set('MNIST', root, True,
                                    download=True)[0]) == 5)
    assert len(fetched) == 1
    assert [path.name for path in root.iterdir()] == ['MNIST']


def test_failed_download_leaves_nothing(tmp_path, monkeypatch):

    def fetch(self):
        (tmp_path / 'data/MNIST').parent.mkdir(exist_ok=True)
        raise OSError('no network')

    monkeypatch.setattr(torchvision.datasets.MNIST, 'download', fetch)
    with pytest.raises(InputError, match='MNIST cannot be read'):
        load_classification_set(
            'MNIST', tmp_path / 'data', True, download=True)
    assert not list((tmp_path / 'data').iterdir())
