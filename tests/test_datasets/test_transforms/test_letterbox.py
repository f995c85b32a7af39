import numpy as np
import pytest

from mmad.errors import InputError
from mmad.registry import TRANSFORMS
from mmad.structures.frame import scored_window


def letterbox(height, width, scale, **more):
    rng = np.random.default_rng(0)
    results = dict(
        img=rng.integers(0, 255, (height, width, 3), np.uint8),
        ori_shape=(height, width),
        **more)
    return TRANSFORMS.build(dict(type='Letterbox', scale=scale))(results)


SIZES = [(72, 72), (50, 100), (100, 50), (71, 33), (33, 71), (1, 999),
         (999, 1), (64, 48), (3, 2)]


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('scale', [64, (64, 48), [33, 64], (1, 1)])
def test_shape(size, scale):
    mask = np.ones(size, np.uint8)
    results = letterbox(*size, scale, gt_seg_map=mask)
    width, height = (scale, scale) if isinstance(scale, int) else scale
    assert results['img'].shape == (height, width, 3)
    assert results['gt_seg_map'].shape == results['img_shape'] == (height,
                                                                   width)
    inner, offset = results['resized_shape'], results['crop_offset']
    # Fits on one side, in the center of the other.
    assert inner[0] == height or inner[1] == width
    assert [full + 2 * start
            for full, start in zip((height, width), offset)] == list(inner)
    ratio = min(height / size[0], width / size[1])
    assert all(
        abs(new - max(1, ratio * old)) <= 1.5 for new, old in zip(inner, size))
    # The border is no defect, all else is.
    rows, columns = scored_window(results, (height, width))
    assert results['gt_seg_map'][rows, columns].all()
    assert results['gt_seg_map'].sum() == inner[0] * inner[1]


def test_border_repeats_the_edge():
    results = letterbox(40, 80, 64)
    image = results['img']
    assert results['crop_offset'] == (-16, 0)
    assert (image[:16] == image[16]).all()
    assert (image[48:] == image[47]).all()


def test_as_resize_where_nothing_is_left_over():
    ours = letterbox(40, 60, (30, 20))['img']
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (40, 60, 3), np.uint8)
    resize = TRANSFORMS.build(
        dict(type='Resize', scale=(30, 20), backend='pillow'))
    assert (ours == resize(dict(img=image))['img']).all()


@pytest.mark.parametrize('scale',
                         [0, -1, (3, ), (3, 0), 'ab', None, 2.5, (1, 2, 3)])
def test_bad_scale(scale):
    with pytest.raises(InputError, match='`scale` must be one or two'):
        letterbox(9, 9, scale)
