from pathlib import Path

import pytest
from PIL import Image

from mmad.datasets import BTAD
from mmad.errors import InputError
from mmad.registry import DATASETS

PIPELINE = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackInputs')
]


@pytest.fixture
def root(tmp_path):
    """Product 02 of three images to train with, one good and two bad ones."""
    for folder, number, suffix in (('train/ok', 3, 'bmp'), ('test/ok', 1,
                                                            'bmp'),
                                   ('test/ko', 2, 'bmp'), ('ground_truth/ko',
                                                           2, 'png')):
        place = tmp_path / '02' / folder
        place.mkdir(parents=True)
        for i in range(number):
            mode = 'L' if suffix == 'png' else 'RGB'
            Image.new(mode, (9, 7), 'white').save(place / f'{i:04}.{suffix}')
    return tmp_path


def build(root, split, category='02', **kwargs):
    return DATASETS.build(
        dict(
            type='BTAD',
            data_root=str(root),
            category=category,
            split=split,
            **kwargs))


def test_ok_is_good(root):
    train = list(build(root, 'train'))
    assert [Path(e['img_path']).relative_to(root).as_posix()
            for e in train] == [f'02/train/ok/000{i}.bmp' for i in range(3)]
    assert {(e['defect_type'], e['gt_label'], e['mask_path'])
            for e in train} == {('good', 0, None)}


def test_ko_has_masks(root):
    samples = [
        e['data_samples'] for e in build(root, 'test', pipeline=PIPELINE)
    ]
    assert [(s.defect_type, int(s.gt_label)) for s in samples] == [('ko', 1),
                                                                   ('ko', 1),
                                                                   ('good', 0)]
    for sample in samples:
        assert bool(sample.gt_mask.all()) is bool(sample.gt_label)


def test_categories(root):
    assert BTAD.CATEGORIES == ('01', '02', '03')
    with pytest.raises(InputError, match='no category "2"; it has 01, 02, 03'):
        build(root, 'train', category='2')


def test_wrong_root_names_the_layout(root):
    with pytest.raises(
            InputError,
            match=(r'/none/02" does not exist; BTAD expects train/ok, test/ok '
                   r'and test/ko below ".*/none/02".*--data-root')):
        build(root / 'none', 'train')
    (root / '02/train/ok').rename(root / '02/train/good')
    with pytest.raises(
            InputError, match=(r'no images in ".*/train/ok".*BTAD')):
        build(root, 'train')


def test_missing_mask(root):
    (root / '02/ground_truth/ko/0001.png').unlink()
    with pytest.raises(InputError, match=r'ko/0001\.bmp" has no mask'):
        build(root, 'test')


def test_a_folder_called_good_holds_good_ones(root):
    (root / '02/test/good').mkdir()
    Image.new('RGB', (9, 7)).save(root / '02/test/good/x.bmp')
    entries = [e for e in build(root, 'test') if e['defect_type'] == 'good']
    assert [Path(e['img_path']).name for e in entries] == ['x.bmp', '0000.bmp']
    assert {(e['gt_label'], e['mask_path']) for e in entries} == {(0, None)}
