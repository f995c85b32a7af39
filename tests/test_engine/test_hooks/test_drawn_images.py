from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose, ConcatDataset

from mmad.datasets.transforms import LoadImage, LoadMask
from mmad.engine.hooks.drawn_images import (
    find_readers,
    has_scale,
    name_files,
    name_of,
    read_original,
    require_original,
)
from mmad.errors import InputError
from mmad.registry import DATASETS
from mmad.structures import AnomalyDataSample


def sample_of(path, **meta):
    return AnomalyDataSample(metainfo=dict(img_path=str(path), **meta))


def test_files_never_meet():
    entries = [(0, 'a', 'x'), (1, 'a', 'x'), (2, 'a', 'x_2'), (3, 'b', 'x'),
               (4, 'A', 'X'), (5, 'a/b', 'x'), (6, 'a', 'x')]
    given = name_files(entries)
    assert len({str(path).casefold()
                for path in given.values()}) == len(entries)
    assert given == name_files(entries[::-1])
    assert [str(given[position])
            for position in (0, 3, 5)] == ['a/x', 'b/x', 'a/b/x']


@pytest.mark.parametrize(('sample', 'expected'), [
    (AnomalyDataSample(), (7, 'unknown', 'image_7')),
    (AnomalyDataSample(metainfo=dict(sample_idx=3, defect_type=2)),
     (7, '2', 'image_3')),
    (sample_of('cut/0.1.png', sample_idx=3, defect_type='cut'),
     (7, 'cut', '0.1')),
])
def test_name(sample, expected):
    assert name_of(sample, 7) == expected


@pytest.mark.parametrize(('threshold', 'expected'), [(None, False), (0, False),
                                                     (1.5, True)])
def test_scale(threshold, expected):
    meta = dict(pixel_threshold=threshold)
    assert has_scale(AnomalyDataSample(metainfo=meta)) is expected


@pytest.fixture
def deep(tmp_path):
    """An image of 12 bits."""
    path = tmp_path / 'deep.png'
    cv2.imwrite(str(path), np.full((4, 6), 4095, np.uint16))
    return path


def test_the_mask_comes_with_the_original(tmp_path):
    image = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    mask = np.zeros((4, 6), np.uint8)
    mask[1, 2] = 9
    cv2.imwrite(str(tmp_path / 'image.png'), image)
    cv2.imwrite(str(tmp_path / 'mask.png'), mask)
    sample = sample_of(
        tmp_path / 'image.png', mask_path=str(tmp_path / 'mask.png'))
    sample.gt_label = 1
    readers = find_readers(SimpleNamespace())
    assert (read_original(sample, readers) == image).all()
    assert (sample.gt_mask.numpy() == (mask > 0)).all()


def test_each_data_set_reads_its_own_images(mvtec_root, deep):
    pipelines = ([dict(type='LoadImage')], [
        dict(type='LoadImage', bit_depth=12),
        dict(type='PackInputs')
    ])
    parts = [
        DATASETS.build(
            dict(
                type='AnomalyDataset',
                data_root=str(mvtec_root),
                category='bottle',
                split=split,
                pipeline=pipeline))
        for split, pipeline in zip(('train', 'test'), pipelines)
    ]
    readers = find_readers(ConcatDataset(parts))
    assert set(readers) == {None, *parts[0].files(), *parts[1].files()}
    for part, depth in zip(parts, (None, 12)):
        for path in part.files():
            step, = readers[path]
            assert step.bit_depth == depth
    # Other images are read like those of the first.
    assert readers[None] == readers[parts[0].files()[0]]
    only = find_readers(parts[1])
    assert set(only) == {None}
    assert read_original(sample_of(deep),
                         only).tolist() == [[[255] * 3] * 6] * 4


def test_without_readers_of_its_own():
    dataset = SimpleNamespace(pipeline=Compose([]))
    assert [type(step)
            for step in find_readers(dataset)[None]] == [LoadImage, LoadMask]


@pytest.mark.parametrize(('meta', 'match'), [
    (dict(ori_shape=None), 'pack `ori_shape`'),
    (dict(rotation=3.0), 'rotated'),
    (dict(frame_lost='it was sheared'), 'it was sheared'),
    (dict(img_path=None), 'is not a file'),
    (dict(img_path='MNIST/3'), '"MNIST/3" is not a file'),
])
def test_what_cannot_be_drawn(deep, meta, match):
    known = dict(ori_shape=(4, 6), resized_shape=(4, 6), crop_offset=(0, 0))
    sample = sample_of(deep, **known)
    require_original(sample)
    sample.set_metainfo(meta)
    with pytest.raises(InputError, match=match):
        require_original(sample)
