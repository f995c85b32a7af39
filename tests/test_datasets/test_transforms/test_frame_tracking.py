import numpy as np
import pytest

from mmad.errors import InputError
from mmad.registry import TRANSFORMS

RESIZE = dict(type='Resize', scale=(32, 32), backend='pillow')
BIG = dict(type='Resize', scale=(48, 40), backend='pillow')
CROP = dict(type='CenterCrop', crop_size=24)
SMALL_CROP = dict(type='CenterCrop', crop_size=(16, 20))
FOREIGN_CROP = dict(type='mmcv.CenterCrop', crop_size=24)
LETTERBOX = dict(type='Letterbox', scale=(40, 32))
FLIP = dict(type='mmcv.RandomFlip', prob=1.0)
PAD = dict(type='mmcv.Pad', size=(70, 70))
POSE = dict(type='RandomPose', angle=0, crop_size=24)

# Every step keeps the gray values, which are those of the place.
KNOWN = [
    [],
    [RESIZE],
    [BIG],
    [dict(RESIZE, keep_ratio=True)],
    [CROP],
    [RESIZE, CROP],
    [BIG, CROP, SMALL_CROP],
    [LETTERBOX],
    [LETTERBOX, CROP],
    [RESIZE, LETTERBOX],
    [BIG, POSE],
    [LETTERBOX, POSE, SMALL_CROP],
    [RESIZE, dict(FLIP, prob=0.0)],
    [dict(type='mmcv.RandomResize', scale=[(30, 30), (40, 40)])],
]
LOST = [
    [FOREIGN_CROP],
    [RESIZE, FOREIGN_CROP],
    [FOREIGN_CROP, RESIZE],
    [FOREIGN_CROP, CROP],
    [BIG, FOREIGN_CROP, SMALL_CROP],
    [RESIZE, PAD],
    [PAD, RESIZE],
    [PAD],
    [CROP, RESIZE],
    [FLIP],
    [RESIZE, FLIP, CROP],
    [LETTERBOX, FLIP],
    [LETTERBOX, FOREIGN_CROP],
    [LETTERBOX, RESIZE],
    [CROP, LETTERBOX],
    [FOREIGN_CROP, LETTERBOX],
]


def run(steps, height=60, width=52):
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows * 3, columns * 3, rows + columns], axis=2)
    results = dict(
        img=image.astype(np.uint8),
        img_path='a.png',
        img_shape=(height, width),
        ori_shape=(height, width))
    for step in [*steps, dict(type='PackInputs')]:
        results = TRANSFORMS.build(step)(results)
    sample = results['data_samples']
    inputs = results['inputs'].float()
    sample.pred_map = inputs[0]
    return sample, inputs


@pytest.mark.parametrize('steps', KNOWN)
def test_a_map_of_places_comes_back_to_its_place(steps):
    sample, inputs = run(steps)
    for axis in (0, 1):
        sample.pred_map = inputs[axis]
        back = sample.original_map().numpy()
        place = np.mgrid[:60, :52][axis] * 3
        seen = ~np.isnan(back)
        assert seen.any()
        # A pixel is 3; in the outermost ones filters see the border.
        inner = np.zeros_like(seen)
        inner[4:-4, 4:-4] = True
        assert np.abs(back - place)[seen & inner].max() < 4


@pytest.mark.parametrize('steps', LOST)
def test_no_map_rather_than_a_shifted_one(steps):
    sample, _ = run(steps)
    with pytest.raises(InputError, match=r'place of "a\.png" in the original'):
        sample.original_map()


def test_what_is_left_of_a_border_is_not_claimed():
    sample, _ = run([LETTERBOX, FOREIGN_CROP])
    assert 'crop_offset' not in sample
    assert 'resized_shape' not in sample


def test_a_step_of_ones_own_can_say_so():
    results = dict(
        img=np.zeros((8, 8, 3), np.uint8),
        ori_shape=(8, 8),
        img_path='a.png',
        frame_lost='it was sheared')
    sample = TRANSFORMS.build(dict(type='PackInputs'))(results)['data_samples']
    sample.pred_map = np.zeros((8, 8))
    with pytest.raises(InputError, match='not known: it was sheared'):
        sample.original_map()
