from pathlib import Path

import pytest
from PIL import Image
from small_data import write_ad_2_data

from mmad.datasets import MVTecAD2
from mmad.errors import InputError
from mmad.registry import DATASETS


@pytest.fixture
def root(tmp_path):
    write_ad_2_data(tmp_path / 'can')
    return tmp_path


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr('mmad.datasets.scan_log.print_log',
                        lambda line, *args, **kwargs: lines.append(line))
    return lines


def build(root, split, **kwargs):
    return DATASETS.build(
        dict(
            type='MVTecAD2',
            data_root=str(root),
            category='can',
            split=split,
            **kwargs))


def test_splits(root):
    for split, number in (('train', 7), ('validation', 2)):
        entries = list(build(root, split))
        assert [
            Path(e['img_path']).relative_to(root / 'can').as_posix()
            for e in entries
        ] == [f'{split}/good/{i:03}_regular.png' for i in range(number)]
        assert {(e['defect_type'], e['gt_label'], e['mask_path'])
                for e in entries} == {('good', 0, None)}
    entries = list(build(root, 'test'))
    assert [(e['defect_type'], e['gt_label'])
            for e in entries] == [('bad', 1)] * 3 + [('good', 0)] * 3
    truth = root / 'can/test_public/ground_truth/bad'
    assert entries[0]['mask_path'] == str(truth / '000_regular_mask.png')


def test_masks_fit_their_images(root):
    pipeline = [
        dict(type='LoadImage'),
        dict(type='LoadMask'),
        dict(type='PackInputs')
    ]
    for item in build(root, 'test', pipeline=pipeline):
        sample = item['data_samples']
        assert sample.gt_mask.sum() == 4 * 14 * sample.gt_label


def test_nothing_is_left_out(root, said):
    build(root, 'test')
    assert 'took 6 images (3 bad, 3 good).' in said[-1]
    Image.new('L', (9, 9)).save(root / 'can/test_public/000_regular.png')
    truth = root / 'can/test_public/ground_truth/bad'
    Image.new('L', (9, 9)).save(truth / '009_regular_mask.png')
    build(root, 'test')
    assert ('left out 1 in no folder that is read (test_public/'
            '000_regular.png); left out 1 masks without an image (test_public/'
            'ground_truth/bad/009_regular_mask.png)') in said[-1]


def test_private_images_are_in_no_split(root):
    for split in ('test_private', 'test_private_mixed'):
        with pytest.raises(InputError, match=f'or "test", got "{split}"'):
            build(root, split)


def test_errors(root):
    assert len(MVTecAD2.CATEGORIES) == 8
    with pytest.raises(InputError, match='no category "bottle"; it has can'):
        MVTecAD2(str(root), 'train', 'bottle')
    (root / 'can/test_public/ground_truth/bad/001_regular_mask.png').unlink()
    with pytest.raises(InputError, match=r'bad/001_regular\.png" has no mask'):
        build(root, 'test')
    (root / 'can/validation').rename(root / 'can/val')
    with pytest.raises(
            InputError,
            match=(r'no images in ".*/validation/good"; put normal images '
                   r'there \(MVTecAD2 expects train/good, validation/good')):
        build(root, 'validation')
