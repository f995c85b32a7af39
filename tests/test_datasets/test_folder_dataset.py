from pathlib import Path

import pytest
from PIL import Image

from mmad.errors import InputError
from mmad.registry import DATASETS


def draw(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (8, 6)).save(root / name)


@pytest.fixture
def root(tmp_path):
    draw(tmp_path, *(f'ok/{day}/{i}.png' for day in 'ab' for i in range(5)),
         'bad/cut/0.png', 'bad/cut/deep/1.jpg', 'bad/hole/0.png', 'bad/x.png')
    return tmp_path


def build(root, split='test', **kwargs):
    kwargs = dict(normal_dir='ok', abnormal_dir='bad') | kwargs
    return DATASETS.build(
        dict(type='FolderDataset', data_root=str(root), split=split, **kwargs))


def names(dataset, root, good=True):
    return [
        Path(e['img_path']).relative_to(root).as_posix() for e in dataset
        if (e['gt_label'] == 0) is good
    ]


@pytest.mark.parametrize('holdout', [0.01, 0.2, 0.5])
@pytest.mark.parametrize('seed', [0, 1])
def test_holdout_is_disjoint_and_complete(root, holdout, seed):
    train, test = (
        names(build(root, split, holdout=holdout, seed=seed), root)
        for split in ('train', 'test'))
    assert sorted(train + test) == [
        f'ok/{day}/{i}.png' for day in 'ab' for i in range(5)
    ]
    assert len(test) == max(1, round(10 * holdout))


def test_holdout_follows_the_seed(root):
    held = [tuple(names(build(root, seed=seed), root)) for seed in range(3)]
    assert held[0] == tuple(names(build(root), root))
    assert len(set(held)) > 1


def test_kinds(root):
    entries = {
        e['img_path'][len(str(root)):]: e
        for e in build(root) if e['gt_label'] == 1
    }
    assert {
        path: e['defect_type']
        for path, e in entries.items()
    } == {
        '/bad/cut/0.png': 'cut',
        '/bad/cut/deep/1.jpg': 'cut/deep',
        '/bad/hole/0.png': 'hole',
        '/bad/x.png': 'bad',
    }
    assert all(e['mask_path'] is None for e in entries.values())


def test_training_needs_no_defects(root):
    assert len(build(root, 'train', abnormal_dir=None)) == 8
    assert names(build(root, abnormal_dir=None), root, good=False) == []


def test_own_folder_of_normal_test_images(root):
    draw(root, 'fine/0.png', 'fine/1.png')
    settings = dict(normal_test_dir='fine')
    assert len(build(root, 'train', **settings)) == 10
    assert names(build(root, **settings), root) == ['fine/0.png', 'fine/1.png']


def test_normal_images_and_masks_below_the_abnormal_ones(tmp_path):
    draw(tmp_path, 'train/0.png', 'test/good/0.png', 'test/cut/0.png',
         'test/masks/cut/0.png')
    entries = list(
        build(
            tmp_path,
            normal_dir='train',
            normal_test_dir='test/good',
            abnormal_dir='test',
            mask_dir='test/masks'))
    assert [(e['defect_type'], e['gt_label']) for e in entries] == [
        ('good', 0),
        ('cut', 1),
    ]
    assert entries[1]['mask_path'].endswith('test/masks/cut/0.png')


def test_masks(root):
    draw(root, 'truth/cut/0_mask.png', 'truth/cut/deep/1.png',
         'truth/hole/0.bmp', 'truth/x_mask.tif')
    masks = {
        e['defect_type']: e['mask_path'][len(str(root)):]
        for e in build(root, mask_dir='truth') if e['gt_label']
    }
    assert masks == {
        'cut': '/truth/cut/0_mask.png',
        'cut/deep': '/truth/cut/deep/1.png',
        'hole': '/truth/hole/0.bmp',
        'bad': '/truth/x_mask.tif',
    }


def test_missing_mask(root):
    draw(root, 'truth/cut/0.png')
    with pytest.raises(InputError, match=r'deep/1\.jpg" has no mask'):
        build(root, mask_dir='truth')


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(normal_dir='no'), '`normal_dir` ".*/no" does not exist or holds'),
    (dict(normal_test_dir='no'), '`normal_test_dir` ".*/no" does not exist'),
    (dict(abnormal_dir='no'), '`abnormal_dir` ".*/no" does not exist'),
    (dict(mask_dir='no'), '`mask_dir` ".*/no" holds no images'),
    (dict(mask_dir='bad', abnormal_dir=None), 'no `abnormal_dir`'),
    (dict(holdout=1), r'above 0 and below 1, got 1'),
    (dict(holdout=0), 'got 0'),
])
def test_wrong_arguments(root, kwargs, message):
    with pytest.raises(InputError, match=message):
        build(root, **kwargs)


def test_single_normal_image(tmp_path):
    draw(tmp_path, 'ok/0.png')
    with pytest.raises(InputError, match='holds only one image'):
        build(tmp_path, 'train', abnormal_dir=None)


def test_missing_root(tmp_path):
    with pytest.raises(InputError, match='/none/ok" does not exist'):
        build(tmp_path / 'none', 'train')


def test_folders_inside_the_normal_one_are_not_trained_on(tmp_path):
    for place in ('0', '1', 'bad/0', 'held/0', 'masks/0'):
        path = tmp_path / f'{place}.png'
        path.parent.mkdir(exist_ok=True)
        Image.new('RGB', (8, 8)).save(path)
    dataset = DATASETS.build(
        dict(
            type='FolderDataset',
            data_root=str(tmp_path),
            split='train',
            normal_dir='.',
            abnormal_dir='bad',
            normal_test_dir='held',
            mask_dir='masks'))
    assert [
        Path(dataset.get_data_info(i)['img_path']).parent
        for i in range(len(dataset))
    ] == [tmp_path, tmp_path]


@pytest.mark.parametrize('folders',
                         [['ok'],
                          ('ok/a', 'ok/b'), ['ok', 'ok/a'], ['ok/a', 'ok']])
def test_several_folders_of_normal_images(root, folders):
    expected = names(build(root), root) + names(build(root, 'train'), root)
    found = (
        names(build(root, normal_dir=folders), root) +
        names(build(root, 'train', normal_dir=folders), root))
    assert sorted(found) == sorted(expected)
    if len(folders) == 1 or (folders[0] == 'ok/a' and folders[1] == 'ok/b'):
        assert found == expected


def test_several_folders_to_test_with(root):
    draw(root, 'x/0.png', 'y/0.png', 'y/1.png')
    settings = dict(normal_test_dir=['y', 'x'])
    assert names(build(root, **settings),
                 root) == ['y/0.png', 'y/1.png', 'x/0.png']
    with pytest.raises(InputError, match='/z" does not exist or holds'):
        build(root, normal_test_dir=['y', 'z'])


@pytest.mark.parametrize(
    'test', ['ok', './ok', 'bad/../ok', ['ok'], 'link', '{root}/ok', 'hard'])
def test_the_same_images_to_train_and_to_test_with(root, test):
    (root / 'link').symlink_to('ok')
    (root / 'hard').mkdir()
    (root / 'hard/0.png').hardlink_to(root / 'ok/a/0.png')
    if isinstance(test, str):
        test = test.format(root=root)
    with pytest.raises(InputError, match='test images are training images'):
        build(root, normal_test_dir=test)


def test_folders_inside_one_another_whatever_their_spelling(root):
    for inner in ('ok/a', 'bad/../ok/a', str(root / 'ok/a')):
        train = build(root, 'train', normal_test_dir=inner)
        test = build(root, normal_test_dir=inner)
        assert {Path(e['img_path']).parent.name for e in train} == {'b'}
        assert sum(e['gt_label'] == 0 for e in test) == 5


def test_what_is_left_out_is_named(root, monkeypatch):
    said = []
    monkeypatch.setattr('mmad.datasets.scan_log.print_log',
                        lambda line, *args: said.append(line))
    draw(root, 'truth/cut/0.png', 'truth/cut/deep/1.png', 'truth/hole/0.png',
         'truth/x.png', 'truth/y.png', 'bad/cut/.thumbnails/a.png')
    (root / 'ok/a/notes.txt').touch()
    (root / 'bad/cut/b.heic').touch()
    build(root, mask_dir='truth')
    line = said[-1]  # the one before: all images are alike
    for part in ('took 6 images (2 good, 1 cut, 1 cut/deep, 1 hole, 1 bad)',
                 'left out 1 hidden (bad/cut/.thumbnails)',
                 'left out 2 without the suffix of an image (bad/cut/b.heic, '
                 'ok/a/notes.txt)',
                 'left out 1 masks without an image (truth/y.png)'):
        assert part in line


def test_bad_images_in_a_folder_called_good(root):
    draw(root, 'x/good/0.png')
    entry, = (
        e for e in build(root, abnormal_dir='x/good')
        if 'x/good' in e['img_path'])
    assert (entry['defect_type'], entry['gt_label']) == ('bad', 1)


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(category='x'), 'FolderDataset has no categories'),
    (dict(normal_dir=None), '`normal_dir` must name the folder'),
    (dict(normal_dir=[]), '`normal_dir` must be a folder or a list'),
    (dict(normal_dir=3), '`normal_dir` must be a folder or a list'),
    (dict(normal_dir=['ok', None]), '`normal_dir` must be a folder or a'),
    (dict(normal_dir=''), '`normal_dir` must be a folder or a list'),
    (dict(abnormal_dir=['bad']), '`abnormal_dir` must be one folder'),
    (dict(mask_dir=1), '`mask_dir` must be one folder'),
    (dict(holdout='x'), '`holdout` must be'),
    (dict(holdout=None), '`holdout` must be'),
    (dict(holdout=True), '`holdout` must be'),
])
def test_types_of_arguments(root, kwargs, message):
    with pytest.raises(InputError, match=message):
        build(root, **kwargs)


def test_no_category_is_no_category(root):
    assert len(build(root, category=None)) == len(build(root))


@pytest.mark.parametrize('split', ['train', 'test'])
def test_names_what_is_held_out(root, split):
    dataset = build(root, split)
    held_out = [
        Path(path).relative_to(root).as_posix() for path in dataset.held_out
    ]
    assert held_out == names(build(root, 'test'), root)
    draw(root, 'fine/0.png')
    assert build(root, split, normal_test_dir='fine').held_out == []
