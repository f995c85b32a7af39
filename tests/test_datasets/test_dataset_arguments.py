"""Arguments of MMEngine's BaseDataset, and its wrappers, in every data set."""
import numpy as np
import pytest
import torch
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from PIL import Image

from mmad.datasets import (
    AnomalyDataset,
    FolderDataset,
    NaturalImages,
    OneClassDataset,
    TorchvisionImages,
)
from mmad.errors import InputError
from mmad.registry import DATA_SAMPLERS, TRANSFORMS

PACK = [dict(type='LoadImage'), dict(type='PackInputs')]


@TRANSFORMS.register_module(force=True)
class LeaveOutFirst:
    """Returns None for the first image."""

    def __call__(self, results):
        return None if results['sample_idx'] == 0 else results


@pytest.fixture
def make(mvtec_root, tmp_path):
    """Make a data set by the name of its class."""
    photos = tmp_path / 'photos'
    photos.mkdir()
    for number in range(3):
        Image.fromarray(np.full((4, 5, 3), 40 * number,
                                np.uint8)).save(photos / f'{number}.png')

    def make(name, pipeline=PACK, **options):
        root = mvtec_root / 'bottle'
        if name == 'AnomalyDataset':
            return AnomalyDataset(root, 'test', pipeline=pipeline, **options)
        if name == 'FolderDataset':
            return FolderDataset(
                root,
                'test',
                'train/good',
                'test/good',
                'test',
                pipeline=pipeline,
                **options)
        if name == 'OneClassDataset':
            return OneClassDataset(
                'digits',
                'none',
                '1',
                'test',
                pipeline=pipeline[1:],
                **options)
        if name == 'TorchvisionImages':
            return TorchvisionImages(
                'ImageFolder',
                tmp_path,
                length=7,
                pipeline=pipeline[1:],
                **options)
        return NaturalImages(photos, 7, pipeline=pipeline, **options)

    return make


NAMES = [
    'AnomalyDataset', 'FolderDataset', 'OneClassDataset', 'NaturalImages',
    'TorchvisionImages'
]
SIZES = [8, 8, 797, 7, 7]


def paths(dataset):
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('options', [
    dict(serialize_data=False),
    dict(lazy_init=True),
    dict(lazy_init=True, serialize_data=False)
])
def test_the_same_images(make, name, options):
    plain, other = make(name), make(name, **options)
    assert len(plain) == SIZES[NAMES.index(name)]
    assert paths(plain)[:10] == paths(make(name, **options))[:10]
    # Nothing else has been asked of this one.
    assert torch.equal(other[1]['inputs'], plain[1]['inputs'])


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('serialize', [True, False])
def test_indices(make, name, serialize):
    whole = make(name)
    part = make(name, indices=[2, 0], serialize_data=serialize)
    assert [part.get_data_info(i)['img_path'] for i in range(2)
            ] == [whole.get_data_info(i)['img_path'] for i in (2, 0)]
    assert torch.equal(part[0]['inputs'], whole[2]['inputs'])
    with pytest.raises(InputError, match='`indices` names 1000, but there'):
        make(name, indices=[1000])


@pytest.mark.parametrize('name', NAMES)
def test_metainfo(make, name):
    assert make(name, metainfo=dict(site='A')).metainfo['site'] == 'A'


def test_other_names_of_the_classes(make):
    dataset = make('AnomalyDataset', metainfo=dict(classes=('ok', 'bad')))
    assert dataset.metainfo['classes'] == ('ok', 'bad')
    assert make('AnomalyDataset').metainfo['classes'] == ('normal',
                                                          'anomalous')


LEAVE_OUT = [PACK[0], dict(type='LeaveOutFirst'), PACK[1]]


def test_an_image_that_the_pipeline_leaves_out(mvtec_root, make):
    test = make('AnomalyDataset', LEAVE_OUT, max_refetch=3)
    train = AnomalyDataset(mvtec_root, 'train', 'bottle', LEAVE_OUT)
    for dataset in (test, train):
        with pytest.raises(InputError, match='returns None for the image'):
            dataset[0]
    patient = AnomalyDataset(
        mvtec_root, 'train', 'bottle', LEAVE_OUT, max_refetch=50)
    assert patient[0]['data_samples'].sample_idx > 0
    with pytest.raises(InputError, match='`max_refetch`'):
        make('AnomalyDataset', max_refetch=-1)


@pytest.mark.parametrize('name', NAMES)
def test_concatenated_and_repeated(make, name):
    inner = make(name)
    number = len(inner)
    both = ConcatDataset([make(name), make(name, lazy_init=True)])
    twice = RepeatDataset(make(name), times=2)
    for dataset in (both, twice):
        assert len(dataset) == 2 * number
        assert torch.equal(dataset[number + 1]['inputs'], inner[1]['inputs'])


@pytest.mark.parametrize('wrap', [
    lambda inner: inner, lambda inner: ConcatDataset([inner]),
    lambda inner: RepeatDataset(inner, 2)
])
def test_running_indices_need_a_data_set_that_takes_them(make, wrap):
    with pytest.raises(InputError, match='use DefaultSampler'):
        DATA_SAMPLERS.build(
            dict(
                type='RunningIndexSampler',
                dataset=wrap(make('AnomalyDataset'))))


def test_running_indices_and_balanced_classes(make):

    class Labeled(NaturalImages):

        def get_cat_ids(self, idx):
            return [idx % 2]

    inner = Labeled(make('NaturalImages').folder, 4)
    with pytest.raises(InputError, match='ClassBalancedDataset does not'):
        DATA_SAMPLERS.build(
            dict(
                type='RunningIndexSampler',
                dataset=ClassBalancedDataset(inner, 0.1)))
