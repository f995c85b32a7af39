from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmad.datasets import VisA
from mmad.errors import InputError
from mmad.registry import DATASETS

PIPELINE = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackInputs')
]


def row(category, split, label, number):
    kind = 'Normal' if label == 'normal' else 'Anomaly'
    image = f'{category}/Data/Images/{kind}/{number:03}.JPG'
    mask = f'{category}/Data/Masks/{kind}/{number:03}.png'
    return [category, split, label, image, '' if label == 'normal' else mask]


def write_table(root, rows):
    lines = [['object', 'split', 'label', 'image', 'mask'], *rows]
    (root / 'split_csv').mkdir(exist_ok=True)
    (root / 'split_csv/1cls.csv').write_text(''.join(','.join(line) + '\n'
                                                     for line in lines))


@pytest.fixture
def root(tmp_path):
    """Three good and two bad images each, in no order, masks of 0 and 3."""
    rows = []
    for category in ('candle', 'pcb1'):
        rows += [row(category, 'train', 'normal', i) for i in (2, 0)]
        rows += [row(category, 'test', 'normal', 1)]
        rows += [row(category, 'test', 'anomaly', i) for i in (1, 0)]
    write_table(tmp_path, rows)
    mask = np.zeros((7, 9), np.uint8)
    mask[2:4, 3:8] = 3
    for *_, image, mask_name in rows:
        (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (9, 7)).save(tmp_path / image)
        if mask_name:
            (tmp_path / mask_name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(tmp_path / mask_name)
    return tmp_path


def build(root, split, category='pcb1', **kwargs):
    return DATASETS.build(
        dict(
            type='VisA',
            data_root=str(root),
            category=category,
            split=split,
            **kwargs))


def test_split_of_the_table(root):
    train, test = ([(Path(e['img_path']).relative_to(root).as_posix(),
                     e['defect_type'], e['gt_label'], e['category'])
                    for e in build(root, split)]
                   for split in ('train', 'test'))
    images = 'pcb1/Data/Images'
    assert train == [(f'{images}/Normal/00{i}.JPG', 'good', 0, 'pcb1')
                     for i in (0, 2)]
    assert test == [(f'{images}/Anomaly/000.JPG', 'anomaly', 1, 'pcb1'),
                    (f'{images}/Anomaly/001.JPG', 'anomaly', 1, 'pcb1'),
                    (f'{images}/Normal/001.JPG', 'good', 0, 'pcb1')]


def test_numbered_masks(root):
    for item in build(root, 'test', pipeline=PIPELINE):
        sample = item['data_samples']
        assert int(sample.gt_mask.sum()) == 10 * int(sample.gt_label)


def test_without_masks(root):
    (root / 'pcb1/Data/Masks').rename(root / 'elsewhere')
    assert {e['mask_path'] for e in build(root, 'test')} == {None}


def test_categories(root):
    assert len(VisA.CATEGORIES) == 12
    with pytest.raises(InputError, match='no category "pcb5"; it has candle'):
        build(root, 'train', category='pcb5')
    with pytest.raises(InputError, match=r'1cls\.csv" lists no .* fryum'):
        build(root, 'train', category='fryum')


def test_wrong_root_names_the_table(root):
    with pytest.raises(
            InputError,
            match=(
                r'/none/split_csv/1cls\.csv" does not exist; VisA expects '
                r'split_csv/1cls\.csv and pcb1/Data/Images below ".*/none"')):
        build(root / 'none', 'train')


def test_other_table(root):
    (root / 'split_csv/1cls.csv').write_text('image,label\n')
    with pytest.raises(InputError, match='columns object,split,label,image,'):
        build(root, 'train')


def test_defects_are_not_trained_on(root):
    write_table(root, [row('pcb1', 'train', 'anomaly', 0)])
    with pytest.raises(InputError, match=r'defective ".*000\.JPG" for'):
        build(root, 'train')


@pytest.mark.parametrize(('gone', 'message'), [
    ('Images/Anomaly/001.JPG', r'Anomaly/001\.JPG" does not exist, but'),
    ('Masks/Anomaly/001.png', r'001\.JPG" has no mask; .*Anomaly/001\.png"'),
])
def test_missing_files(root, gone, message):
    (root / 'pcb1/Data' / gone).unlink()
    with pytest.raises(InputError, match=message):
        build(root, 'test')
    assert len(build(root, 'test', category='candle')) == 3


@pytest.mark.parametrize('place', [
    '{tmp}/x.png', '../x.png', 'pcb1/../../x', '/etc/passwd', '', 'C:/x.png',
    '..\\x'
])
@pytest.mark.parametrize('column', ['image', 'mask'])
def test_paths_that_lead_outside(root, column, place):
    listed = row('pcb1', 'test', 'anomaly', 0)
    listed[3 if column == 'image' else 4] = place.format(tmp=root.parent)
    write_table(root, [row('pcb1', 'train', 'normal', 0), listed])
    with pytest.raises(
            InputError,
            match=(
                fr'the {column} in a row of ".*1cls\.csv" must be a relative'
            )):
        build(root, 'test')


@pytest.mark.parametrize('label', ['/tmp/x', '../x', 'a/b', '..', '', 'a\\b'])
def test_labels_that_name_no_file(root, label):
    write_table(
        root,
        [['pcb1', 'test', label, *row('pcb1', 'test', 'anomaly', 0)[3:]]])
    with pytest.raises(InputError, match='the label in a row of'):
        build(root, 'test')


@pytest.mark.parametrize('content', [
    b'\xff\xfe\x00', b'object,split\n"',
    b'object,split,label,image,mask\npcb1,test\n'
])
def test_broken_table(root, content):
    (root / 'split_csv/1cls.csv').write_bytes(content)
    with pytest.raises(InputError):
        build(root, 'test')


def test_an_image_in_both_parts(root):
    write_table(root,
                [row('pcb1', part, 'normal', 0) for part in ('train', 'test')])
    with pytest.raises(InputError, match='test images are training images'):
        build(root, 'test')


def test_images_that_are_not_listed_are_named(root, monkeypatch):
    said = []
    monkeypatch.setattr('mmad.datasets.scan_log.print_log',
                        lambda line, *args: said.append(line))
    Image.new('RGB', (9, 7), 5).save(root / 'pcb1/Data/Images/Normal/x.JPG')
    build(root, 'train')
    assert 'does not list (Data/Images/Normal/x.JPG)' in said[0]


@pytest.mark.parametrize('number', [0, 2, 4])
def test_a_row_that_is_there_twice(root, number):
    lines = (root / 'split_csv/1cls.csv').read_text().splitlines()
    split = lines[-1 - number].split(',')[1]
    (root / 'split_csv/1cls.csv').write_text('\n'.join(
        [*lines, lines[-1 - number]]))
    with pytest.raises(InputError, match='twice'):
        build(root, split)


def test_a_spreadsheet_may_have_saved_the_table(root):
    table = root / 'split_csv/1cls.csv'
    expected = [len(build(root, split)) for split in ('train', 'test')]
    table.write_text(table.read_text(), encoding='utf-8-sig')
    assert [len(build(root, split)) for split in ('train', 'test')] == expected


def test_a_defect_is_not_labeled_as_good(root):
    table = root / 'split_csv/1cls.csv'
    table.write_text(table.read_text().replace('anomaly', 'good'))
    with pytest.raises(InputError, match='the label "good"'):
        build(root, 'test')
