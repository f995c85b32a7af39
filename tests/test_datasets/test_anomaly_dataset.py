import shutil

import pytest
from PIL import Image
from torch.utils.data import DataLoader

from mmad.datasets import AnomalyDataset
from mmad.errors import InputError
from mmad.registry import DATASETS

PIPELINE = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(32, 32), backend='pillow'),
    dict(type='CenterCrop', crop_size=24),
    dict(type='PackInputs'),
]


def build(root, split='test', category='bottle', **kwargs):
    return DATASETS.build(dict(
        type='AnomalyDataset', data_root=str(root), category=category,
        split=split, **kwargs))


def test_train(mvtec_root):
    dataset = build(mvtec_root, 'train')
    assert len(dataset) == 7
    for i, entry in enumerate(dataset):
        assert entry['img_path'] == str(
            mvtec_root / f'bottle/train/good/{i:03}.png')
        assert entry['mask_path'] is None
        assert entry['gt_label'] == 0
        assert entry['kind'] == 'good'
        assert entry['category'] == 'bottle'
        assert entry['sample_idx'] == i


def test_test(mvtec_root):
    entries = list(build(mvtec_root))
    kinds = [entry['kind'] for entry in entries]
    assert kinds == ['good'] * 3 + ['hole'] * 2 + ['scratch'] * 3
    for entry in entries:
        assert entry['gt_label'] == int(entry['kind'] != 'good')
        stem = entry['img_path'][-7:-4]
        expected = None if entry['kind'] == 'good' else str(
            mvtec_root / 'bottle/ground_truth' / entry['kind'] /
            f'{stem}_mask.png')
        assert entry['mask_path'] == expected


def test_root_of_the_category_itself(mvtec_root):
    dataset = build(mvtec_root / 'bottle', category=None)
    assert [e['img_path'] for e in dataset] == [
        e['img_path'] for e in build(mvtec_root)
    ]
    assert dataset[0]['category'] == 'bottle'


def test_pipeline(mvtec_root):
    for item in build(mvtec_root, pipeline=PIPELINE):
        sample = item['data_samples']
        assert item['inputs'].shape == (3, 24, 24)
        assert sample.gt_mask.shape == (24, 24)
        assert bool(sample.gt_mask.any()) is bool(sample.gt_label)


def test_first_images_only(mvtec_root):
    assert [e['kind'] for e in build(mvtec_root, indices=4)
            ] == ['good'] * 3 + ['hole']
    assert [e['sample_idx'] for e in build(mvtec_root, indices=[1, 5])
            ] == [0, 1]


def test_lazy(mvtec_root, tmp_path):
    dataset = build(tmp_path / 'none', lazy_init=True)
    with pytest.raises(InputError, match='does not exist'):
        dataset.full_init()
    assert len(build(mvtec_root, lazy_init=True)) == 8


def test_without_ground_truth(own_root):
    shutil.rmtree(own_root / 'bottle/ground_truth')
    items = list(build(own_root, pipeline=PIPELINE))
    assert all(('gt_mask' in item['data_samples']) is
               (item['data_samples'].kind == 'good') for item in items)


def test_masks_without_suffix(own_root):
    for path in (own_root / 'bottle/ground_truth/hole').iterdir():
        path.rename(path.with_name(path.name.replace('_mask', '')))
    assert [e['mask_path'][-13:-4] for e in build(own_root)
            if e['kind'] == 'hole'] == ['/hole/000', '/hole/001']


@pytest.mark.parametrize(('split', 'gone', 'message'), [
    ('train', 'bottle', '/bottle" does not exist.*--data-root'),
    ('train', 'bottle/train/good', r'no images in ".*/train/good"'),
    ('test', 'bottle/test', r'no images in ".*/test/KIND"'),
    ('test', 'bottle/ground_truth/hole',
     r'test/hole/000\.png" has no mask; expected ".*hole/000_mask\.png"'),
])
def test_missing_folder(own_root, split, gone, message):
    shutil.rmtree(own_root / gone)
    with pytest.raises(InputError, match=message):
        build(own_root, split)


def test_folder_without_images(own_root):
    folder = own_root / 'bottle/train/good'
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / 'notes.txt').touch()
    with pytest.raises(InputError, match='training needs images of good'):
        build(own_root, 'train')


def test_missing_mask(own_root):
    (own_root / 'bottle/ground_truth/scratch/001_mask.png').unlink()
    with pytest.raises(InputError, match=r'scratch/001\.png" has no mask'):
        build(own_root)


def test_mask_of_another_size(own_root):
    Image.new('L', (56, 47)).save(
        own_root / 'bottle/ground_truth/hole/000_mask.png')
    dataset = build(own_root, pipeline=PIPELINE)
    with pytest.raises(InputError, match=(
            r'hole/000_mask\.png" is 56x47 but its image .*000\.png" is '
            '56x48')):
        dataset[3]


def test_split():
    with pytest.raises(InputError, match='"calibration", got "val"'):
        AnomalyDataset('none', 'val')


@pytest.mark.parametrize('workers', [0, 1])
def test_broken_image_is_named(own_root, workers):
    path = own_root / 'bottle/train/good/003.png'
    path.write_bytes(path.read_bytes()[:-300])
    loader = DataLoader(
        build(own_root, 'train', pipeline=PIPELINE), num_workers=workers,
        collate_fn=list)
    with pytest.raises(InputError, match=r'good/003\.png" cannot be read'):
        list(loader)


@pytest.mark.parametrize('workers', [0, 2])
def test_same_samples_whatever_the_number_of_workers(mvtec_root, workers):
    dataset = build(mvtec_root, pipeline=PIPELINE)
    loader = DataLoader(
        dataset, batch_size=3, num_workers=workers, collate_fn=list)
    items = [item for batch in loader for item in batch]
    assert [i['data_samples'].sample_idx for i in items] == list(range(8))
    for item, expected in zip(items, dataset):
        assert (item['inputs'] == expected['inputs']).all()


def paths(dataset):
    return [entry['img_path'] for entry in dataset]


def test_calibration(mvtec_root):
    everything = paths(build(mvtec_root, 'train'))
    train = build(mvtec_root, 'train', calibration=0.3)
    kept = build(mvtec_root, 'calibration', calibration=0.3)
    assert len(kept) == 2
    assert sorted(paths(train) + paths(kept)) == everything
    assert [entry['sample_idx'] for entry in kept] == [0, 1]
    assert all(entry['gt_label'] == 0 for entry in kept)
    # The test images are what they are.
    assert paths(build(mvtec_root, calibration=0.3)) == paths(
        build(mvtec_root))
    others = {tuple(paths(build(mvtec_root, 'calibration', calibration=0.3,
                                seed=seed))) for seed in range(10)}
    assert len(others) > 1


def test_one_image_at_least_on_either_side(mvtec_root):
    assert len(build(mvtec_root, 'calibration', calibration=0.01)) == 1
    assert len(build(mvtec_root, 'train', calibration=0.99)) == 1


@pytest.mark.parametrize(('split', 'share', 'message'), [
    ('train', 1, r'must lie in \[0, 1\), got 1'),
    ('calibration', 0, 'no images are kept for calibration')])
def test_bad_calibration(mvtec_root, split, share, message):
    with pytest.raises(InputError, match=message):
        build(mvtec_root, split, calibration=share)


def test_one_image_is_not_enough(own_root):
    for path in list((own_root / 'bottle/train/good').iterdir())[1:]:
        path.unlink()
    with pytest.raises(InputError, match='has one training image'):
        build(own_root, 'train', calibration=0.1)
