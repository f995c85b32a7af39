import numpy as np
import pytest
from mmcv.transforms import Compose

from mmad.errors import InputError
from mmad.registry import TRANSFORMS


def build(*steps):
    return Compose([TRANSFORMS.build(step) for step in steps])


@pytest.mark.parametrize('shape', [(9, 14), (10, 13), (16, 8), (8, 8)])
@pytest.mark.parametrize('crop', [(8, 8), (5, 8), (6, 7)])
def test_note_agrees_with_the_pixels(shape, crop):
    height, width = shape
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(height)[:, None]
    image[..., 1] = np.arange(width)
    mask = image[..., 0] * 16 + image[..., 1]
    # crop_size is (width, height).
    results = build(dict(type='CenterCrop', crop_size=crop[::-1]))(
        dict(img=image.copy(), gt_seg_map=mask.copy()))
    top, left = results['crop_offset']
    assert results['resized_shape'] == shape
    assert results['img'].shape[:2] == crop
    window = np.s_[top:top + crop[0], left:left + crop[1]]
    assert (results['img'] == image[window]).all()
    assert (results['gt_seg_map'] == mask[window]).all()
    assert abs(top - (height - crop[0]) / 2) <= 0.5
    assert abs(left - (width - crop[1]) / 2) <= 0.5


def test_mask_stays_on_the_defect():
    # A white blob of the size of many blocks: wherever the image is fully
    # white after resizing and cropping there is mask, and nowhere else.
    image = np.zeros((120, 160, 3), np.uint8)
    image[40:72, 60:110] = 255
    mask = (image[..., 0] > 0).astype(np.uint8)
    results = build(
        dict(type='Resize', scale=(64, 64), backend='pillow'),
        dict(type='CenterCrop', crop_size=48))(
            dict(img=image, gt_seg_map=mask))
    gray = results['img'][..., 0]
    assert results['gt_seg_map'].shape == (48, 48)
    assert results['gt_seg_map'][gray == 255].all()
    assert not results['gt_seg_map'][gray == 0].any()
    assert set(np.unique(results['gt_seg_map'])) == {0, 1}
    assert 100 < results['gt_seg_map'].sum() < 500


@pytest.mark.parametrize('shape', [(8, 20), (20, 8)])
def test_crop_larger_than_the_image(shape):
    crop = build(dict(type='CenterCrop', crop_size=9))
    image = np.zeros((*shape, 3), np.uint8)
    with pytest.raises(
            InputError,
            match=(
                fr'image "a\.png" is {shape[1]}x{shape[0]} .* crop of 9x9')):
        crop(dict(img=image, img_path='a.png'))
