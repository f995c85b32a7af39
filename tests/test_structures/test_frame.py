import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmad.errors import InputError
from mmad.structures.frame import (
    map_to_original,
    require_place,
    scored_window,
)


def test_whole_image_equals_bilinear_interpolation():
    values = np.random.default_rng(0).random((7, 9), dtype=np.float32)
    for shape in ((20, 31), (7, 9), (5, 4)):
        result, window = map_to_original(values, shape)
        expected = F.interpolate(
            torch.from_numpy(values)[None, None], shape, mode='bilinear')
        np.testing.assert_allclose(result, expected[0, 0], atol=1e-6)
        assert window == (slice(0, shape[0]), slice(0, shape[1]))


def test_crop_equals_the_window_of_the_whole():
    rows, columns = np.mgrid[:256, :256].astype(np.float32)
    whole, _ = map_to_original(rows + 3 * columns, (900, 700))
    crop = (rows + 3 * columns)[16:240, 16:240]
    part, window = map_to_original(crop, (900, 700), (256, 256), (16, 16))
    assert part.shape == whole[window].shape
    # The outermost half pixel of the crop is held constant.
    inner = (slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(part[inner], whole[window][inner], atol=1e-2)


def test_window_holds_the_centers_inside_the_crop():
    ones = np.ones((4, 4), dtype=np.float32)
    result, window = map_to_original(ones, (16, 12), (8, 6), (2, 1))
    assert window == (slice(4, 12), slice(2, 10))
    np.testing.assert_array_equal(result, np.ones((8, 8)))
    _, window = map_to_original(ones, (5, 5), (6, 6), (1, 1))
    assert window == (slice(1, 4), slice(1, 4))


@pytest.mark.parametrize(('resized', 'offset', 'expected'), [
    ((8, 6), (2, 1), (slice(0, 4), slice(0, 4))),
    ((4, 2), (0, -1), (slice(0, 4), slice(1, 3))),
    ((1, 4), (-2, 0), (slice(2, 3), slice(0, 4))),
])
def test_scored_window_leaves_out_the_border(resized, offset, expected):
    info = dict(resized_shape=resized, crop_offset=offset)
    assert scored_window(info, (4, 4)) == expected
    assert scored_window({}, (4, 4)) == (slice(0, 4), slice(0, 4))


def test_letterboxed_map_equals_the_map_without_border():
    values = np.random.default_rng(0).random((5, 9), dtype=np.float32)
    boxed = np.pad(values, ((2, 3), (1, 0)), constant_values=np.nan)
    expected, _ = map_to_original(values, (20, 36))
    found, window = map_to_original(boxed, (20, 36), (5, 9), (-2, -1))
    assert window == (slice(0, 20), slice(0, 36))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    'info',
    [{}, dict(rotation=0.0),
     dict(frame_lost=None),
     dict(frame_lost='')])
def test_place_that_is_known(info):
    require_place(info, 'look away')


@pytest.mark.parametrize('info', [
    dict(rotation=-2.0),
    dict(frame_lost='it was flipped'),
    dict(frame_lost='it was flipped', rotation=1.0)
])
def test_place_that_is_not_known(info):
    reason = info.get('frame_lost', 'rotated')
    with pytest.raises(
            InputError, match=rf'"a\.png" .*{reason}.*, or look away\.$'):
        require_place(dict(info, img_path='a.png'), 'look away')
