import os
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
    return DATASETS.build(
        dict(
            type='AnomalyDataset',
            data_root=str(root),
            category=category,
            split=split,
            **kwargs))


def test_train(mvtec_root):
    dataset = build(mvtec_root, 'train')
    assert len(dataset) == 7
    for i, entry in enumerate(dataset):
        assert entry['img_path'] == str(mvtec_root /
                                        f'bottle/train/good/{i:03}.png')
        assert entry['mask_path'] is None
        assert entry['gt_label'] == 0
        assert entry['defect_type'] == 'good'
        assert entry['category'] == 'bottle'
        assert entry['sample_idx'] == i


def test_test(mvtec_root):
    entries = list(build(mvtec_root))
    types = [entry['defect_type'] for entry in entries]
    assert types == ['good'] * 3 + ['hole'] * 2 + ['scratch'] * 3
    for entry in entries:
        assert entry['gt_label'] == int(entry['defect_type'] != 'good')
        stem = entry['img_path'][-7:-4]
        expected = None if entry['defect_type'] == 'good' else str(
            mvtec_root / 'bottle/ground_truth' / entry['defect_type'] /
            f'{stem}_mask.png')
        assert entry['mask_path'] == expected


def test_root_of_the_category_itself(mvtec_root):
    dataset = build(mvtec_root / 'bottle', category=None)
    assert [e['img_path']
            for e in dataset] == [e['img_path'] for e in build(mvtec_root)]
    assert dataset[0]['category'] == 'bottle'


def test_pipeline(mvtec_root):
    for item in build(mvtec_root, pipeline=PIPELINE):
        sample = item['data_samples']
        assert item['inputs'].shape == (3, 24, 24)
        assert sample.gt_mask.shape == (24, 24)
        assert bool(sample.gt_mask.any()) is bool(sample.gt_label)


def test_first_images_only(mvtec_root):
    assert [e['defect_type']
            for e in build(mvtec_root, indices=4)] == ['good'] * 3 + ['hole']
    assert [e['sample_idx']
            for e in build(mvtec_root, indices=[1, 5])] == [0, 1]


def test_lazy(mvtec_root, tmp_path):
    dataset = build(tmp_path / 'none', lazy_init=True)
    with pytest.raises(InputError, match='does not exist'):
        dataset.full_init()
    assert len(build(mvtec_root, lazy_init=True)) == 8


def test_without_ground_truth(own_root):
    shutil.rmtree(own_root / 'bottle/ground_truth')
    items = list(build(own_root, pipeline=PIPELINE))
    assert all(('gt_mask' in item['data_samples']) is (
        item['data_samples'].defect_type == 'good') for item in items)


def test_masks_without_suffix(own_root):
    for path in (own_root / 'bottle/ground_truth/hole').iterdir():
        path.rename(path.with_name(path.name.replace('_mask', '')))
    assert [
        e['mask_path'][-13:-4] for e in build(own_root)
        if e['defect_type'] == 'hole'
    ] == ['/hole/000', '/hole/001']


@pytest.mark.parametrize(('split', 'gone', 'message'), [
    ('train', 'bottle', '/bottle" does not exist.*--data-root'),
    ('train', 'bottle/train/good', r'no images in ".*/train/good"'),
    ('test', 'bottle/test', r'no images in ".*/test/DEFECT_TYPE"'),
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
    with pytest.raises(InputError, match='put normal images for training'):
        build(own_root, 'train')


def test_missing_mask(own_root):
    (own_root / 'bottle/ground_truth/scratch/001_mask.png').unlink()
    with pytest.raises(InputError, match=r'scratch/001\.png" has no mask'):
        build(own_root)


def test_mask_of_another_size(own_root):
    Image.new('L', (56, 47)).save(own_root /
                                  'bottle/ground_truth/hole/000_mask.png')
    dataset = build(own_root, pipeline=PIPELINE)
    with pytest.raises(
            InputError,
            match=(
                r'hole/000_mask\.png" is 56x47 but its image .*000\.png" is '
                '56x48')):
        dataset[3]


def test_split():
    with pytest.raises(InputError, match='"train" or "test", got "val"'):
        AnomalyDataset('none', 'val')


@pytest.mark.parametrize('workers', [0, 1])
def test_broken_image_is_named(own_root, workers):
    path = own_root / 'bottle/train/good/003.png'
    path.write_bytes(path.read_bytes()[:-300])
    loader = DataLoader(
        build(own_root, 'train', pipeline=PIPELINE),
        num_workers=workers,
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


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr('mmad.datasets.scan_log.print_log',
                        lambda line, *args: lines.append(line))
    return lines


@pytest.mark.parametrize('name', ['.ipynb_checkpoints', '@eaDir', '__MACOSX'])
def test_hidden_folders_are_no_data(own_root, name):
    root = own_root / 'bottle'
    expected = {
        split: paths(build(own_root, split))
        for split in ('train', 'test')
    }
    for place in ('train/good', 'test', 'test/hole', 'ground_truth/hole'):
        (root / place / name).mkdir()
        shutil.copy(root / 'test/good/000.png', root / place / name)
    for split, found in expected.items():
        assert paths(build(own_root, split)) == found


@pytest.mark.parametrize(('split', 'file', 'why'), [
    ('train', 'train/good/deep/a.png', 'in a deeper folder'),
    ('train', 'train/good/a.gif', 'without the suffix of an image'),
    ('train', 'train/bad/a.png', 'in no folder that is read'),
    ('train', 'train/a.png', 'in no folder that is read'),
    ('test', 'test/hole/deep/a.png', 'in a deeper folder'),
    ('test', 'test/good/deep/er/a.png', 'in a deeper folder'),
    ('test', 'test/a.png', 'in no folder that is read'),
    ('test', 'test/hole/a.jp2', 'without the suffix of an image'),
    ('test', 'ground_truth/hole/a_mask.png', 'masks without an image'),
    ('test', 'ground_truth/hole/a.txt', 'without the suffix of an image'),
])
def test_what_is_left_out_is_named(own_root, said, split, file, why):
    root = own_root / 'bottle'
    expected = paths(build(own_root, split))
    assert 'left out' not in said.pop()
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / 'train/good/000.png', root / file)
    assert paths(build(own_root, split)) == expected
    line, = said
    assert f'left out 1 {why} ({file})' in line


def test_what_is_taken_is_said(own_root, said):
    build(own_root)
    assert said == [
        f'AnomalyDataset (test) of "{own_root}/bottle": took 8 images (3 '
        'good, 2 hole, 3 scratch).'
    ]


@pytest.mark.parametrize('link', ['link', 'folder link', 'hard link'])
def test_training_images_are_not_tested_with(own_root, link):
    root = own_root / 'bottle'
    if link == 'folder link':
        shutil.rmtree(root / 'test/good')
        (root / 'test/good').symlink_to('../train/good')
    elif link == 'link':
        (root / 'test/good/a.png').symlink_to('../../train/good/003.png')
    else:
        (root / 'test/good/a.png').hardlink_to(root / 'train/good/003.png')
    with pytest.raises(InputError, match='test images are training images'):
        build(own_root)


def test_loops_of_links(own_root):
    root = own_root / 'bottle'
    expected = paths(build(own_root)), paths(build(own_root, 'train'))
    for place in ('train/good', 'test', 'test/hole', 'ground_truth'):
        (root / place / 'loop').symlink_to('..')
    assert (paths(build(own_root)), paths(build(own_root,
                                                'train'))) == expected


@pytest.mark.parametrize(
    'category', ['../x', '..', '/tmp', 'a/b', 'a\\b', './bottle', 3, 'a\0'])
def test_category_is_a_plain_name(own_root, category):
    with pytest.raises(InputError, match='`category` must be a plain name'):
        build(own_root, category=category)


@pytest.mark.parametrize(('options', 'message'), [
    (dict(indices=-1), '`indices` must be a positive number'),
    (dict(indices=0), '`indices` must be a positive number'),
    (dict(indices='0'), '`indices` must be'),
    (dict(indices=1.5), '`indices` must be'),
    (dict(indices=True), '`indices` must be'),
    (dict(indices=[0, 'a']), '`indices` must be'),
    (dict(indices=[]), '`indices` is empty'),
    (dict(indices=[0, 8]), '`indices` names 8, but there are 8 images'),
    (dict(data_root=None), '`data_root` must be the path of a folder'),
    (dict(data_root=5), '`data_root` must be the path of a folder'),
])
def test_types_of_options(mvtec_root, options, message):
    with pytest.raises(InputError, match=message):
        DATASETS.build(
            dict(
                dict(
                    type='AnomalyDataset',
                    data_root=str(mvtec_root),
                    category='bottle',
                    split='test'), **options))


def test_root_that_is_a_file(tmp_path):
    (tmp_path / 'data').touch()
    with pytest.raises(InputError, match='/data" is a file; '):
        build(tmp_path / 'data', category=None)


def test_fifo_is_found_before_it_is_read(own_root):
    os.mkfifo(own_root / 'bottle/train/good/a.png')
    with pytest.raises(InputError, match=r'a\.png" is not a regular file'):
        build(own_root, 'train')


@pytest.mark.parametrize('name', ['Good', 'GOOD', 'gOOd'])
def test_a_folder_called_almost_good(own_root, name):
    test = own_root / 'bottle/test'
    shutil.rmtree(own_root / 'bottle/ground_truth')
    shutil.copytree(test / 'good', test / f'{name}_')
    build(own_root)
    if (test / name).exists():
        pytest.skip('the file system does not tell them apart')
    os.rename(test / f'{name}_', test / name)
    with pytest.raises(
            InputError, match=f'test/{name}" would be a defect type'):
        build(own_root)


@pytest.mark.parametrize('link', [False, True])
def test_masks_that_are_no_folder(own_root, link):
    truth = own_root / 'bottle/ground_truth'
    shutil.rmtree(truth)
    assert all(entry['mask_path'] is None
               for entry in build(own_root).load_data_list())
    if link:
        truth.symlink_to('unmounted')
    else:
        truth.touch()
    with pytest.raises(InputError, match='ground_truth" is '):
        build(own_root)
