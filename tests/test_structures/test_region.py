import json

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope
from PIL import Image
from scipy import ndimage

from mmad.errors import InputError
from mmad.structures import AnomalyDataSample, Region


def test_fields():
    region = Region(1, 2, 3, 4, 5, 0.5)
    assert json.loads(json.dumps(region.as_dict())) == dict(
        x=1, y=2, width=3, height=4, area=5, score=0.5)


@pytest.mark.parametrize('seed', range(20))
def test_regions_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 40, 2))
    scores = ndimage.gaussian_filter(rng.normal(size=shape), 1).astype('f4')
    threshold = float(np.quantile(scores, rng.uniform(0, 1)))
    sample = AnomalyDataSample(
        metainfo=dict(ori_shape=shape, pixel_threshold=threshold),
        pred_map=scores)

    labels, number = ndimage.label(scores > threshold, np.ones((3, 3)))
    expected = set()
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        mask = labels == label
        expected.add((columns.start, rows.start, columns.stop - columns.start,
                      rows.stop - rows.start, int(mask.sum()),
                      float(scores[mask].max())))
    found = sample.find_regions()
    assert {tuple(region.as_dict().values()) for region in found} == expected
    assert len(found) == number
    peaks = [region.score for region in found]
    assert peaks == sorted(peaks, reverse=True)


PIPELINES = {
    'plain': [],
    'resized': [dict(type='Resize', scale=(120, 160))],
    'cropped': [
        dict(type='Resize', scale=(80, 120)),
        dict(type='CenterCrop', crop_size=(56, 72))
    ],
    'letterbox': [dict(type='Letterbox', scale=(128, 96))],
}


@pytest.mark.parametrize('name', PIPELINES)
@pytest.mark.parametrize('orientation', range(1, 9))
def test_boxes_are_in_pixels_of_the_upright_original(tmp_path, name,
                                                     orientation):
    """A bright block, stored in any orientation, is where it is seen."""
    init_default_scope('mmad')
    upright = np.zeros((90, 60, 3), np.uint8)
    x, y, width, height = 22, 30, 16, 24
    upright[y:y + height, x:x + width] = 255
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[::-1],
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a.swapaxes(0, 1)[:, ::-1],
    }
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](upright)))
    exif = stored.getexif()
    exif[0x0112] = orientation
    stored.save(tmp_path / 'a.png', exif=exif)

    packed = Compose(
        [dict(type='LoadImage'), *PIPELINES[name],
         dict(type='PackInputs')])(
             dict(img_path=str(tmp_path / 'a.png')))
    sample = packed['data_samples']
    sample.pred_map = packed['inputs'][0].float()

    region, = sample.find_regions(127.0)
    # Half a pixel of the input, which is smaller than the original.
    near = pytest.approx
    assert region.x == near(x, abs=1)
    assert region.y == near(y, abs=1)
    assert region.width == near(width, abs=2)
    assert region.height == near(height, abs=2)
    assert region.area == near(width * height, rel=0.15)
    if name == 'plain':
        assert region == Region(x, y, width, height, width * height, 255)


def test_what_is_not_scored_is_in_no_region():
    sample = AnomalyDataSample(
        metainfo=dict(
            ori_shape=(8, 8), resized_shape=(8, 8), crop_offset=(2, 2)),
        pred_map=torch.ones(4, 4))
    assert sample.find_regions(0) == [Region(2, 2, 4, 4, 16, 1)]
    assert sample.find_regions(1) == []


def test_no_threshold():
    with pytest.raises(InputError, match='no threshold'):
        AnomalyDataSample(pred_map=torch.ones(2, 2)).find_regions()


@pytest.mark.parametrize('info', [
    dict(ori_shape=(4, 4), rotation=3.0),
    dict(ori_shape=(4, 4), frame_lost='it was flipped'),
    dict()
])
def test_place_is_not_known(info):
    sample = AnomalyDataSample(metainfo=info, pred_map=torch.ones(4, 4))
    with pytest.raises(InputError):
        sample.find_regions(0.5)
