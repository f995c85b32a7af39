import cv2
import numpy as np
import pytest

from mmad.structures import AnomalyDataSample
from mmad.visualization.panels import (
    panel_shape,
    resize_image,
    resize_mask,
    resize_scores,
)

SHAPES = [(1, 1), (8, 8), (28, 28), (224, 224), (256, 600), (320, 320),
          (1024, 1024), (3000, 4000), (100, 8000), (8000, 100), (1, 30000)]


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('number', [1, 2, 3])
@pytest.mark.parametrize('limit', [64, 1000, 3072])
def test_panels_fit_and_keep_their_aspect(shape, number, limit):
    (height, width), is_row = panel_shape(shape, number, limit)
    assert height >= 1
    assert width >= 1
    columns, rows = (number, 1) if is_row else (1, number)
    # An extreme image has at least one pixel.
    assert columns * width <= limit + number
    assert rows * height <= limit + number
    if min(height, width) > 20:
        assert width / height == pytest.approx(shape[1] / shape[0], rel=0.05)


@pytest.mark.parametrize(('shape', 'expected'), [
    ((1024, 1024), (1024, 1024)),
    ((320, 400), (320, 400)),
    ((160, 100), (320, 200)),
    ((8, 8), (320, 320)),
    ((3000, 4000), (768, 1024)),
])
def test_sizes(shape, expected):
    assert panel_shape(shape, 3, 3072)[0] == expected


def test_wide_images_are_one_below_the_other():
    assert panel_shape((200, 400), 3, 3072)[1]
    assert not panel_shape((200, 401), 3, 3072)[1]


def test_pixels_stay_pixels():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    large = resize_image(image, (320, 320))
    assert (large == image.repeat(40, 0).repeat(40, 1)).all()
    assert (resize_image(image, (8, 8)) == image).all()


@pytest.mark.parametrize('shape', [(10, 13), (64, 64), (200, 300)])
def test_no_region_of_a_mask_vanishes(shape):
    rng = np.random.default_rng(0)
    mask = np.zeros((64, 64), bool)
    for _ in range(5):
        row, column = rng.integers(0, 62, 2)
        mask[:] = False
        mask[row:row + 2, column:column + 2] = True
        drawn = resize_mask(mask, shape)
        assert drawn.any()
        center = np.argwhere(drawn).mean(0) / shape
        assert np.abs(center - (np.array([row, column]) + 1) / 64).max() < 0.1


@pytest.mark.parametrize('frame', ['input', 'original'])
def test_the_hottest_pixel_of_a_large_map_is_kept(frame):
    rng = np.random.default_rng(0)
    for _ in range(10):
        scores = np.zeros((301, 407), np.float32)
        row, column = rng.integers(0, 300, 2)
        scores[row, column] = 7
        drawn = resize_scores(scores, {}, (37, 50), frame)
        assert drawn.max() == 7
        place = np.argwhere(drawn == 7).mean(0) / (37, 50)
        assert np.abs(place - (row / 301, column / 407)).max() < 0.05


def test_original_as_the_sample_resizes():
    sample = AnomalyDataSample(
        metainfo=dict(
            ori_shape=(100, 140), resized_shape=(50, 70), crop_offset=(5, -4)),
        pred_map=np.random.default_rng(0).random((40, 60), np.float32))
    drawn = resize_scores(sample.pred_map.numpy(), sample, (100, 140),
                          'original')
    assert np.array_equal(drawn, sample.original_map(), equal_nan=True)


def test_input_as_opencv_resizes():
    scores = np.random.default_rng(0).random((40, 60), np.float32)
    drawn = resize_scores(scores, {}, (120, 180), 'input')
    expected = cv2.resize(scores, (180, 120), interpolation=cv2.INTER_LINEAR)
    assert drawn == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('border', [float('nan'), 1e6, float('inf')])
@pytest.mark.parametrize('shape', [(20, 12), (40, 24), (5, 3)])
def test_the_border_of_a_letterbox_has_no_say(border, shape):
    scores = np.full((20, 12), border, np.float32)
    scores[4:16] = 1
    info = dict(resized_shape=(12, 12), crop_offset=(-4, 0))
    drawn = resize_scores(scores, info, shape, 'input')
    edge = shape[0] // 5
    assert np.isnan(drawn[:edge]).all()
    assert np.isnan(drawn[-edge:]).all()
    assert (drawn[edge:-edge] == 1).all()
