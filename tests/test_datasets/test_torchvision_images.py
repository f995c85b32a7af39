import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torchvision
from PIL import Image
from torchvision.datasets import ImageFolder

from mmad.errors import InputError
from mmad.registry import DATASETS


def build(root, **kwargs):
    kwargs.setdefault('name', 'ImageFolder')
    return DATASETS.build(
        dict(type='TorchvisionImages', data_root=str(root), **kwargs))


@pytest.fixture
def folder(tmp_path):
    """Three gray images of two classes."""
    for number, name in enumerate(['cat/0', 'cat/1', 'dog/0']):
        path = tmp_path / f'images/{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 8), 50 * number, np.uint8)).save(path)
    return tmp_path / 'images'


def test_pixels_come_with_the_annotation(folder):
    dataset = build(folder, length=7)
    assert len(dataset) == 7
    for draw in (0, 1, 2, 3, 3001):
        entry = dataset[draw]
        assert entry['img'].shape == (9, 8, 3)
        assert entry['img_shape'] == entry['ori_shape'] == (9, 8)
        assert (entry['img'] == 50 * (draw % 3)).all()
        assert entry['sample_idx'] == draw


def test_order_of_the_colors(folder):
    Image.fromarray(np.uint8([[[1, 2, 3]]])).save(folder / 'cat/0.png')
    assert build(folder)[0]['img'].tolist() == [[[3, 2, 1]]]


def test_options(folder):
    (folder / 'empty').mkdir()
    with pytest.raises(InputError, match='ImageFolder cannot be read'):
        build(folder)
    assert len(build(folder, options=dict(allow_empty=True), length=4)) == 4


def test_anomaly_data(folder, mvtec_root):
    with pytest.raises(InputError, match='must not be trained on'):
        build(folder, forbidden_roots=[str(folder.parent)])
    with pytest.raises(InputError, match='must not be trained on'):
        build(mvtec_root / 'bottle/test')


def test_unknown_name(tmp_path):
    with pytest.raises(InputError, match='no data set "Cifar"; it has'):
        build(tmp_path, name='Cifar')


def test_missing_files(tmp_path):
    with pytest.raises(
            InputError,
            match=r'CIFAR10 cannot be read from .* \(RuntimeError: .*\); name'
    ):
        build(tmp_path, name='CIFAR10')


def test_options_of_another_class(folder):
    with pytest.raises(InputError, match='CocoDetection of torchvision: '):
        build(folder, name='CocoDetection')
    with pytest.raises(InputError, match=r"unexpected keyword .* 'splitt'"):
        build(folder, options=dict(splitt='val'))
    with pytest.raises(InputError, match=r"of ImageFolder, got \['val'\]"):
        build(folder, options=['val'])


def test_no_images(folder, tmp_path):
    (tmp_path / 'other/cat').mkdir(parents=True)
    with pytest.raises(InputError, match='other" is empty'):
        build(tmp_path / 'other', options=dict(allow_empty=True))
    dataset = build(folder, options=dict(transform=np.asarray))
    with pytest.raises(InputError, match='torchvision yields a ndarray'):
        dataset[0]


@pytest.mark.parametrize(
    'spoil', [
        lambda content: b'no image', lambda content: content[:45],
        lambda content: content[:33] + bytes([0, 0, 0, 1]) + content[37:]
    ],
    ids=['other', 'cut', 'chunk'])
def test_broken_image(folder, spoil):
    path = folder / 'cat/0.png'
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InputError, match=r'"ImageFolder/0" in .* replace it'):
        build(folder)[0]


def test_broken_image_that_is_read_late(folder, monkeypatch):

    class Late(ImageFolder):

        def __getitem__(self, index):
            return Image.open(self.samples[index][0]), 0

    monkeypatch.setattr(torchvision.datasets, 'ImageFolder', Late)
    path = folder / 'cat/0.png'
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(InputError, match=r'"ImageFolder/0" in .* replace it'):
        build(folder)[0]


def test_the_reason_is_told(folder):
    with pytest.raises(InputError, match=r'Unknown value .train.* `options`'):
        build(folder, name='Places365', options=dict(split='train'))


def test_read_only_folder_is_not_written_to(folder, monkeypatch):
    monkeypatch.setattr('os.access', lambda path, mode: False)
    before = set(folder.iterdir())
    # ImageFolder would refuse the argument.
    assert build(folder, options=dict(download=True), length=3)[2]
    assert set(folder.iterdir()) == before


def test_processes_download_in_turn(folder, monkeypatch):
    busy = []

    class Downloading(ImageFolder):

        def __init__(self, root, download):
            assert download
            assert not busy
            busy.append(1)
            time.sleep(0.05)
            super().__init__(root)
            busy.pop()

    monkeypatch.setattr(torchvision.datasets, 'Places365', Downloading)
    with ThreadPoolExecutor(4) as pool:
        datasets = list(
            pool.map(
                lambda _: build(
                    folder,
                    name='Places365',
                    options=dict(download=True),
                    length=5), range(4)))
    assert [len(dataset) for dataset in datasets] == [5] * 4
