import cv2
import numpy as np
import pytest

from mmad.visualization.heat_scale import HeatScale

SCORES = np.linspace(-1, 5, 301, dtype=np.float32)[None]


def luminance(image):
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(int)


@pytest.mark.parametrize('gray', [0, 40, 128, 200, 255])
def test_hotter_is_brighter_in_a_gray_print(gray):
    image = np.full((1, 301, 3), gray, np.uint8)
    light = luminance(HeatScale(0, 4, 2).overlay(image, SCORES))[0]
    # Up to rounding; and hotter than any photograph where it is hot.
    assert (light >= np.maximum.accumulate(light) - 3).all()
    white = np.full((1, 1, 3), 255, np.uint8)
    cold = luminance(HeatScale(0, 4).overlay(white, np.zeros((1, 1))))
    assert (light[SCORES[0] >= 3] > cold).all()
    # Neither the lower end nor the upper one goes on.
    assert len(set(light[SCORES[0] < 1])) == 1
    assert len(set(light[SCORES[0] >= 4])) == 1


def test_cold_is_the_photograph_without_colors():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    drawn = HeatScale(0, 4).overlay(image, np.full((20, 30), 0.9))
    assert (drawn == drawn[..., :1]).all()
    order = luminance(image).ravel().argsort()
    assert (np.diff(drawn[..., 0].ravel()[order].astype(int)) >= 0).all()


def test_heat_hides_nothing():
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1] = 255
    for score in (0, 1, 2, 3, 4, 9):
        drawn = HeatScale(0, 4).overlay(image, np.full((1, 2), float(score)))
        dark, bright = luminance(drawn)[0]
        assert bright - dark >= 25


def test_no_score_is_fog():
    image = np.zeros((2, 2, 3), np.uint8)
    scores = np.array([[np.nan, 0], [4, np.nan]], np.float32)
    drawn = HeatScale(0, 4).overlay(image, scores)
    assert (drawn[0, 0] == drawn[1, 1]).all()
    assert (drawn[0, 0] == 96).all()
    assert (drawn[0, 1] == 0).all()


@pytest.mark.parametrize('low', [0.0, 2.0, -3.0])
def test_a_scale_without_width(low):
    image = np.zeros((1, 301, 3), np.uint8)
    assert HeatScale(low, low).overlay(image, SCORES).shape == image.shape


@pytest.mark.parametrize(('scale', 'ticks'), [
    (HeatScale.of_threshold(3.0), [(0, '0'), (0.5, '1 = threshold'),
                                   (1, '2+')]),
    (HeatScale(1.0, 5.0), [(0, '1'), (1, '5+')]),
    (HeatScale(1.0, 5.0, 3.0), [(0, '1'), (0.5, 'threshold'), (1, '5+')]),
    (HeatScale(1.0, 5.0, 9.0), [(0, '1'), (1, '5+')]),
])
def test_ticks(scale, ticks):
    assert scale.ticks == ticks


def test_scale_of_many_maps_keeps_ordinary_ones_cold():
    means, peaks = [1.0, 2.0, 9.0], [3.0, 4.0, 9.0]
    assert HeatScale.of_maps(means, peaks, 4.0) == HeatScale.of_threshold(4.0)
    for threshold in (None, -4.0):
        scale = HeatScale.of_maps(means, peaks, threshold)
        assert (scale.low, scale.high) == (2.0, np.percentile(peaks, 98))
        assert scale.threshold == threshold
    assert HeatScale.of_maps([], []) == HeatScale(0.0, 1.0)


def test_color_bar_goes_from_cold_to_hot():
    light = luminance(HeatScale(-1, 3).color_bar(100)[None])[0]
    assert (light >= np.maximum.accumulate(light) - 3).all()
    assert light[-1] > 2 * light[0]
