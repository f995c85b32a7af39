import json

import numpy as np
import pytest
import torch

from mmad.apis.record import judge, make_record
from mmad.structures import AnomalyDataSample

KEYS = {
    'path', 'frame', 'score', 'p_value', 'label', 'threshold', 'regions',
    'error'
}


def make_sample(**meta):
    """Two regions, of 2 x 3 and of 1 x 1 pixels; the latter is hotter."""
    pred_map = torch.zeros(8, 9)
    pred_map[1:3, 2:5] = 2.1
    pred_map[6, 8] = 3.3
    place = dict(ori_shape=(8, 9), resized_shape=(8, 9), crop_offset=(0, 0))
    return AnomalyDataSample(
        metainfo=dict(place, img_path='a.png', **meta),
        pred_score=0.1,
        pred_map=pred_map)


def test_a_score_alone():
    sample = AnomalyDataSample(pred_score=0.1, pred_map=torch.zeros(2, 2))
    record = make_record(sample)
    assert set(record) == KEYS
    # Not 0.10000000149011612.
    assert record.pop('score') == 0.1
    assert set(record.values()) == {None}


@pytest.mark.parametrize(('label', 'expected'), [(True, 'defective'),
                                                 (False, 'good')])
def test_a_verdict(label, expected):
    sample = make_sample(
        image_threshold=0.3, pixel_threshold=2.0, frame_index=7)
    sample.pred_label = label
    sample.p_value = 0.7
    record = make_record(sample)
    assert json.loads(json.dumps(record)) == record
    regions = record.pop('regions')
    assert record == dict(
        path='a.png',
        frame=7,
        score=0.1,
        p_value=0.7,
        label=expected,
        threshold=0.3,
        error=None)
    assert [region['score'] for region in regions] == [3.3, 2.1]
    boxes = [[region[key] for key in ('x', 'y', 'width', 'height')]
             for region in regions]
    assert boxes == [[8, 6, 1, 1], [2, 1, 3, 2]]


def test_numbers_are_those_of_float32():
    values = np.random.default_rng(0).lognormal(0, 20, 50).astype(np.float32)
    for value in values:
        sample = AnomalyDataSample(
            pred_score=float(value), pred_map=torch.zeros(2, 2))
        text = json.dumps(make_record(sample)['score'])
        assert np.float32(text) == value


def test_no_regions_where_the_pipeline_rotated_the_image():
    record = make_record(make_sample(pixel_threshold=2.0, rotation=3.0))
    assert record['regions'] is None
    assert record['score'] == 0.1


def test_an_error():
    sample = AnomalyDataSample(
        metainfo=dict(img_path='b.png', error='No.', image_threshold=0.3))
    record = make_record(sample)
    given = dict(path='b.png', label='error', error='No.')
    assert record == dict(dict.fromkeys(KEYS), **given)


def test_given_thresholds():
    sample = make_sample(image_threshold=9, false_alarm_rate=0.01)
    score = float(sample.pred_score)
    pixel = float(sample.pred_map[1, 2])
    judge(sample, score, pixel)
    # At the thresholds, they are good.
    assert not sample.pred_label
    assert sample.pred_mask.nonzero().tolist() == [[6, 8]]
    assert sample.image_threshold == score
    assert sample.pixel_threshold == pixel
    assert sample.false_alarm_rate is None
    assert len(make_record(sample)['regions']) == 1
    other = make_sample()
    judge(other, 0.05, None)
    assert other.pred_label
    assert 'pred_mask' not in other
    assert make_record(other)['regions'] is None
