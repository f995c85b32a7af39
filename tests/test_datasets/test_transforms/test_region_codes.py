import numpy as np
import pytest
from PIL import Image

from mmad.datasets.transforms.region_codes import (
    decode_regions,
    encode_regions,
)
from mmad.errors import InputError
from mmad.registry import TRANSFORMS
from mmad.structures import Saturation

SATURATIONS = {9: Saturation(4, False), 8: Saturation(0.5, True)}


@pytest.mark.parametrize('number', [1, 2, 3, 7, 20])
def test_what_is_encoded_is_decoded(number):
    rng = np.random.default_rng(number)
    # Boxes have few combinations.
    regions = np.zeros((number, 40, 50), bool)
    for region in regions:
        top, left = rng.integers(0, 35, 2)
        region[top:top + rng.integers(1, 9), left:left + 12] = True
    codes, members = encode_regions(regions, 'here')
    assert codes.dtype == np.uint8
    assert np.array_equal(codes > 0, regions.any(0))
    assert codes.max() == len(members) - 1
    assert len(np.unique(members, axis=0)) == len(members)
    decoded = decode_regions(codes, members)
    assert decoded.dtype == bool
    assert np.array_equal(decoded, regions)


def test_a_region_may_be_everywhere():
    regions = np.ones((2, 3, 4), bool)
    codes, members = encode_regions(regions, 'here')
    assert np.array_equal(decode_regions(codes, members), regions)


def test_too_many_combinations_are_refused():
    bits = np.arange(256)
    regions = (bits >> np.arange(8)[:, None] & 1 > 0).reshape(8, 16, 16)
    with pytest.raises(
            InputError, match='"here" overlap in 255 combinations, of which '):
        encode_regions(regions, 'here')
    regions[:, 15, 15] = False
    assert np.array_equal(
        decode_regions(*encode_regions(regions, 'here')), regions)


@pytest.fixture
def results(tmp_path):
    """An image and two regions that overlap."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 50, 3),
                                 np.uint8)).save(tmp_path / 'image.png')
    folder = tmp_path / 'mask'
    folder.mkdir()
    for i, value in enumerate(SATURATIONS):
        pixels = np.zeros((40, 50), np.uint8)
        pixels[12:30, 10 + 8 * i:25 + 8 * i] = value
        Image.fromarray(pixels).save(folder / f'{i}.png')
    return dict(
        img_path=str(tmp_path / 'image.png'),
        mask_path=str(folder),
        gt_label=1,
        saturations=SATURATIONS)


def run(results, *steps):
    results = dict(results)
    for step in (dict(type='LoadImage'), dict(type='LoadMask'), *steps,
                 dict(type='PackInputs')):
        results = TRANSFORMS.build(step)(results)
    return results['data_samples']


STEPS = [
    [dict(type='Resize', scale=(31, 23), backend='pillow')],
    [dict(type='Resize', scale=(33, 64))],
    [dict(type='CenterCrop', crop_size=24)],
    [
        dict(type='Resize', scale=(40, 36), backend='pillow'),
        dict(type='CenterCrop', crop_size=(24, 20))
    ],
    [dict(type='Letterbox', scale=40)],
    [dict(type='RandomPose', angle=30, crop_size=32, seed=3)],
    [dict(type='RandomFlip', prob=1.0)],
]


@pytest.mark.parametrize('steps', STEPS, ids=lambda steps: steps[0]['type'])
def test_regions_move_as_if_each_were_a_mask(results, steps):
    sample = run(results, *steps)
    assert sample.gt_regions.shape == (2, *sample.gt_mask.shape)
    assert sample.gt_regions.all(0).any()
    for i, region in enumerate(sample.gt_regions):
        alone = dict(results, mask_path=f'{results["mask_path"]}/{i}.png')
        del alone['saturations']
        single = run(alone, *steps)
        assert 'gt_regions' not in single
        assert (region == single.gt_mask).all()
    assert (sample.gt_regions.any(0) == sample.gt_mask).all()
    assert sample.region_saturations == [SATURATIONS[9], SATURATIONS[8]]


def test_without_saturations_only_the_union_is_read(results):
    del results['saturations']
    sample = run(results)
    assert 'gt_regions' not in sample
    assert sample.gt_mask.sum() == 18 * 23


def test_padding_with_another_value_is_refused(results):
    with pytest.raises(InputError, match=r'padded the mask of .* with 255'):
        run(results, dict(type='Pad', size=(60, 60)))
