import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

from mmad.datasets import OneClassDataset, one_class
from mmad.errors import InputError
from mmad.registry import DATASETS

PIPELINE = [
    dict(type='Resize', scale=(16, 16), backend='pillow'),
    dict(type='PackInputs')
]


def build(split, category='3', **kwargs):
    return DATASETS.build(
        dict(
            type='OneClassDataset',
            name='digits',
            data_root='none',
            category=category,
            split=split,
            **kwargs))


@pytest.mark.parametrize('category', OneClassDataset.CATEGORIES)
def test_protocol(category):
    target = load_digits().target
    train, test = build('train', category), build('test', category)
    assert len(train) == (target[:1000] == int(category)).sum()
    assert len(test) == 797
    assert {(e['defect_type'], e['gt_label']) for e in train} == {('good', 0)}
    for entry, label in zip(test, target[1000:]):
        normal = label == int(category)
        assert entry['gt_label'] == int(not normal)
        assert entry['defect_type'] == ('good' if normal else str(label))
        assert entry['category'] == category


def test_pixels_belong_to_their_labels():
    images = np.uint8(np.round(load_digits().images * (255 / 16)))
    train = images[:1000][load_digits().target[:1000] == 3]
    for dataset, expected in ((build('train'), train), (build('test'),
                                                        images[1000:])):
        assert len(dataset) == len(expected)
        for i, (entry, image) in enumerate(zip(dataset, expected)):
            assert entry['sample_idx'] == i
            assert entry['img'].shape == (8, 8, 3)
            assert (entry['img'] == image[..., None]).all()


def test_colors_are_bgr(monkeypatch):
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    monkeypatch.setattr(one_class, 'load_classification_set', lambda *args:
                        (images, np.array([0, 1]), ['a', 'b']))
    entry = build('test', '0')[1]
    assert (entry['img'] == images[1][..., ::-1]).all()
    assert entry['defect_type'] == 'b'
    assert entry['img_shape'] == entry['ori_shape'] == (4, 5)


def test_pipeline():
    for item in build('test', pipeline=PIPELINE, indices=20):
        sample = item['data_samples']
        assert item['inputs'].shape == (3, 16, 16)
        assert 'gt_mask' not in sample
        assert sample.ori_shape == (8, 8)


def test_subsets_keep_their_pixels():
    whole = build('test')
    for chosen, subset in ((range(7), build('test', indices=7)),
                           ([5, 700], build('test', indices=[5, 700]))):
        assert len(subset) == len(chosen)
        for i, entry in zip(chosen, subset):
            assert (entry['img'] == whole[i]['img']).all()
            assert entry['defect_type'] == whole[i]['defect_type']


@pytest.mark.parametrize('spawned', [True, False])
def test_same_samples_in_workers(spawned):
    dataset = build('test', pipeline=PIPELINE, indices=50)
    loader = DataLoader(
        # As a worker that is spawned gets it.
        pickle.loads(pickle.dumps(dataset)) if spawned else dataset,
        batch_size=20,
        num_workers=0 if spawned else 1,
        collate_fn=list)
    items = [item for batch in loader for item in batch]
    assert len(items) == 50
    for item, expected in zip(items, dataset):
        assert (item['inputs'] == expected['inputs']).all()


def test_pixels_are_not_in_the_serialized_list():
    dataset = build('test')
    assert len(dataset.data_bytes) / len(dataset) < 250
    assert dataset.data_list == []


def test_lazy():
    dataset = OneClassDataset('MNIST', 'none', '3', 'train', lazy_init=True)
    with pytest.raises(InputError, match='none/MNIST/raw/train-images'):
        dataset.full_init()
    assert build('train', lazy_init=True)[0]['img'].any()


def test_number_as_category():
    assert len(build('train', 3)) == len(build('train', '3'))


def test_wrong_arguments():
    with pytest.raises(InputError, match='no category "cat"; it has 0, 1'):
        build('train', 'cat')
    with pytest.raises(InputError, match='no data set "SVHN"; it has MNIST'):
        OneClassDataset('SVHN', 'none', '3', 'train')
