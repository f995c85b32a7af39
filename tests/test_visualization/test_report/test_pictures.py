import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mmad.evaluation.example import Example
from mmad.structures import AnomalyDataSample
from mmad.visualization.heat_scale import HeatScale
from mmad.visualization.report.pictures import Pictures


def opened(address):
    text = address.split(',', 1)[1]
    return Image.open(BytesIO(base64.b64decode(text)))


def example(scores, **info):
    sample = AnomalyDataSample(metainfo=dict(ori_shape=scores.shape, **info))
    sample.pred_map = scores.astype(np.float32)
    return Example.of(sample.to_dict(), 0)


@pytest.fixture
def gray(tmp_path):
    path = tmp_path / 'gray.png'
    Image.fromarray(np.full((40, 80), 90, np.uint8)).save(path)
    return path


def test_keeps_the_aspect_ratio_and_each_file_once(gray):
    pictures = Pictures(20)
    assert pictures.add_image(gray) == pictures.add_image(gray) == 0
    assert len(pictures.addresses) == 1
    assert opened(pictures.addresses[0]).size == (20, 10)


def test_reads_sixteen_bits(tmp_path):
    path = tmp_path / 'deep.png'
    ramp = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(path)
    pictures = Pictures(8)
    pictures.add_image(path)
    shown = np.asarray(opened(pictures.addresses[0]).convert('L'), int)
    assert shown.max() > 230
    assert abs(shown - ramp / 16.06).max() < 12


def test_small_defects_stay_visible(tmp_path):
    path = tmp_path / 'mask.png'
    mask = np.zeros((400, 400), np.uint8)
    mask[200, 200] = 255
    Image.fromarray(mask).save(path)
    pictures = Pictures(20)
    pictures.add_mask(path)
    assert np.asarray(opened(pictures.addresses[0])).sum() == 1


def test_files_that_cannot_be_shown(tmp_path):
    pictures = Pictures(20)
    (tmp_path / 'text.png').write_text('no image')
    assert pictures.add_image(tmp_path / 'nothing.png') is None
    assert pictures.add_image(tmp_path / 'text.png') is None
    assert pictures.add_mask(tmp_path / 'nothing.png') is None
    assert len(pictures.faults) == 2
    assert pictures.addresses == []


def test_heat_is_where_the_map_is_high(gray):
    scores = np.zeros((40, 80))
    scores[5:15, 50:70] = 4
    pictures = Pictures(80)
    place = pictures.add_heat(example(scores), gray, HeatScale(0, 4, None))
    heat = np.asarray(opened(pictures.addresses[place]), int)
    # The image is dimmed where it is cold.
    assert abs(heat[30:, :40] - 55).max() < 12
    assert heat[10, 60, 0] > 190
    outlined = pictures.add_heat(example(scores), gray, HeatScale(0, 4, 2))
    change = np.asarray(opened(pictures.addresses[outlined]), int) - heat
    # White between black lines, around the defect only.
    assert change[3, 55:65].min() > 100
    assert abs(change[20:]).max() < 12


def test_a_map_without_its_image_is_drawn_alone(tmp_path):
    scores = np.zeros((40, 80))
    scores[:, 40:] = 1
    pictures = Pictures(80)
    place = pictures.add_heat(
        example(scores, rotation=3.0), tmp_path / 'nothing.png',
        HeatScale(0, 1, None))
    heat = np.asarray(opened(pictures.addresses[place]), int)
    assert heat[20, 20].sum() < 240
    assert heat[20, 60].sum() > 500
