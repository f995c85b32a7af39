import os

import numpy as np
import pytest
from PIL import Image

from mmad.errors import InputError
from mmad.registry import TRANSFORMS

TRUTH = np.zeros((5, 8), bool)
TRUTH[1:3, 2:7] = True


def transform(path, gt_label=1, ori_shape=(5, 8)):
    return TRANSFORMS.build(dict(type='LoadMask'))(
        dict(
            img_path='a.png',
            ori_shape=ori_shape,
            gt_label=gt_label,
            mask_path=None if path is None else str(path)))


REGIONS = np.zeros((12, 16), np.uint8)
REGIONS[1:3, 2:7] = 1
REGIONS[6:9, 10:13] = 2


def palette(colors, indices=REGIONS):
    image = Image.fromarray(indices)
    image.putpalette([value for color in colors for value in color])
    return image


def test_area(tmp_path):
    Image.fromarray(REGIONS).save(tmp_path / 'mask.png')
    results = transform(tmp_path / 'mask.png', ori_shape=(12, 16))
    assert results['mask_area'] == (REGIONS > 0).sum()
    assert transform(None, 0)['mask_area'] == 0
    assert 'mask_area' not in transform(None, 1)


def test_empty_mask_of_a_defect_is_named_once(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('mmad.datasets.transforms.load_mask.print_log',
                        lambda message, *args: said.append(message))
    Image.new('L', (8, 5)).save(tmp_path / 'mask.png')
    step = TRANSFORMS.build(dict(type='LoadMask'))
    for label in (0, 1, 1):
        results = step(
            dict(
                img_path='a.png',
                ori_shape=(5, 8),
                gt_label=label,
                mask_path=str(tmp_path / 'mask.png')))
        assert results['mask_area'] == 0
    message, = said
    assert 'mask.png" is empty, but its image "a.png"' in message


def test_transform(tmp_path):
    Image.fromarray(TRUTH).save(tmp_path / 'mask.png')
    mask = transform(tmp_path / 'mask.png')['gt_seg_map']
    assert mask.dtype == np.uint8
    assert (mask == TRUTH).all()


def test_normal_image_gets_an_empty_mask():
    mask = transform(None, gt_label=0)['gt_seg_map']
    assert mask.shape == (5, 8)
    assert not mask.any()


def test_nothing_is_made_up_for_a_defect():
    assert 'gt_seg_map' not in transform(None, gt_label=1)


def test_another_size(tmp_path):
    Image.fromarray(TRUTH.T.copy()).save(tmp_path / 'mask.png')
    with pytest.raises(InputError, match=r'is 5x8 but its image .* is 8x5'):
        transform(tmp_path / 'mask.png')


def test_an_empty_mask_with_a_name_that_is_no_text(monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr('mmad.datasets.transforms.load_mask.print_log',
                        lambda line, *args: said.append(line))
    path = os.fsdecode(os.fsencode(tmp_path) + b'/kr\xe4tz.png')
    Image.new('L', (8, 6)).save(path)
    TRANSFORMS.build(dict(type='LoadMask'))(
        dict(
            mask_path=path,
            img_path='two\nlines.png',
            gt_label=1,
            ori_shape=(6, 8)))
    line, = said
    assert '\n' not in line
    assert 'kr\\udce4tz.png' in line.encode().decode()
