import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from mmad.datasets.transforms.mask_regions import count_regions, find_regions
from mmad.registry import TRANSFORMS

PIPELINES = dict(
    reduced=[dict(type='Resize', scale=(19, 14), backend='pillow')],
    opencv=[dict(type='Resize', scale=(19, 14), backend='cv2')],
    enlarged=[dict(type='Resize', scale=(190, 150), backend='pillow')],
    cropped=[
        dict(type='Resize', scale=(30, 20), backend='pillow'),
        dict(type='CenterCrop', crop_size=16)
    ],
    letterbox=[dict(type='Letterbox', scale=24)],
    whole=[])


def random_mask(seed, height=57, width=83):
    """Some specks of different sizes, a few of which may touch."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    for _ in range(rng.integers(1, 12)):
        top, left = rng.integers(0, (height, width))
        tall, wide = rng.integers(1, 8, 2)
        mask[top:top + tall, left:left + wide] = True
    return mask


def run(pipeline, mask, folder):
    """What the pipeline packs of a mask file, and of its numbered regions.

    The numbers go through the same steps as the mask, one region at a time.
    """
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / 'mask.png')
    numbers, total = ndimage.label(mask, np.ones((3, 3)))
    steps = [TRANSFORMS.build(step) for step in pipeline]
    pack = TRANSFORMS.build(dict(type='PackInputs'))

    def apply(results):
        for step in steps:
            results = step.transform(results)
        return pack(results)['data_samples']

    def start():
        return dict(
            img=np.zeros((*mask.shape, 3), np.uint8),
            img_path='image.png',
            img_shape=mask.shape,
            ori_shape=mask.shape,
            mask_path=str(folder / 'mask.png'),
            gt_label=1)

    whole = apply(TRANSFORMS.build(dict(type='LoadMask'))(start()))
    left = []
    for number in range(1, total + 1):
        alone = dict(start(), gt_seg_map=(numbers == number).astype(np.uint8))
        left.append(int(apply(alone).gt_mask.sum()))
    areas = np.bincount(numbers.ravel())[1:]
    return whole, np.array(left), areas


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('name', PIPELINES)
def test_each_region_by_itself(name, seed, tmp_path):
    sample, left, areas = run(PIPELINES[name], random_mask(seed), tmp_path)
    total, outside, lost, single = sample.get('mask_regions')
    assert total == len(left)
    assert outside + lost == (left == 0).sum()
    assert single == ((left == 1) & (areas > 1)).sum()
    if name != 'cropped':
        assert outside == 0


@pytest.mark.parametrize('seed', range(4))
def test_nothing_is_lost_without_a_reduction(seed, tmp_path):
    for name in ('enlarged', 'whole'):
        sample, left, _ = run(PIPELINES[name], random_mask(seed), tmp_path)
        assert sample.get('mask_regions') == (len(left), 0, 0, 0)


def test_outside_of_a_crop_is_not_lost():
    mask = np.zeros((40, 60), bool)
    mask[18:22, 28:32] = True  # seen
    mask[1:4, 1:30] = True  # above the crop
    mask[28, 38] = True  # inside, but between the pixels that are taken
    left = np.zeros((10, 10), bool)
    left[4:6, 4:6] = True
    counts = count_regions(
        find_regions(mask), left, (40, 60), (20, 30), (5, 10))
    assert counts == (3, 1, 1, 0)


def test_an_empty_mask():
    regions = find_regions(np.zeros((5, 6), bool))
    assert count_regions(regions, np.zeros((5, 6), bool), (5, 6), (5, 6),
                         (0, 0)) == (0, 0, 0, 0)
