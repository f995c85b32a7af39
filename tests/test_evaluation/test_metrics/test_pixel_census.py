import itertools
import pickle

import numpy as np
import pytest

from mmad.errors import InputError
from mmad.evaluation.metrics.image_pixels import ImagePixels
from mmad.evaluation.metrics.pixel_census import PixelCensus


def make(path, shape=(4, 6), has_mask=True, fault=None):
    nothing = np.zeros(0)
    return ImagePixels(path, 'cut', nothing, nothing, nothing, 2, shape,
                       has_mask, True, fault)


def count(images):
    census = PixelCensus('input')
    for image in images:
        census.add(image)
    return census


def state_of(census):
    return (census.images, census.cropped, census.regions, census.map_size,
            str(census.unmasked), census.defects.conditions,
            census.defects.sentences())


IMAGES = [
    make('b', (2, 6)),
    make('a', (3, 4), fault='empty'),
    make('d', (9, 9), has_mask=False),
    make('c', (4, 3), fault='removed'),
    make('e', (5, 5)),
]


@pytest.mark.parametrize('cut', range(6))
def test_no_order_and_no_division_changes_the_counts(cut):
    # Three shapes have the same area.
    expected = state_of(count(IMAGES))
    assert expected[3] == '2x6 to 9x9'
    for order in itertools.permutations(IMAGES):
        census = count(order[:cut])
        census.merge(count(order[cut:]))
        assert state_of(census) == expected


@pytest.mark.parametrize(('shapes', 'text'), [
    ([(4, 6)], '4x6'),
    ([(4, 6), (4, 6)], '4x6'),
    ([(6, 4), (4, 6)], '4x6 to 6x4'),
    ([(7, 8), (4, 6), (6, 5)], '4x6 to 7x8'),
])
def test_sizes(shapes, text):
    assert count([make('a', shape) for shape in shapes]).map_size == text


def test_memory_does_not_grow_with_the_images():
    sizes = [
        len(
            pickle.dumps(
                count(
                    make(
                        f'{i:06}', (100 + i, 100 + i),
                        has_mask=i % 3 > 0,
                        fault=[None, 'empty', 'removed'][i % 7 % 3])
                    for i in range(number)))) for number in (100, 5000)
    ]
    assert sizes[1] - sizes[0] < 40


def test_a_missing_mask_is_named():
    with pytest.raises(InputError, match=r'image d has no mask, while 4 '):
        count(IMAGES).check()
    with pytest.raises(InputError, match='no images'):
        count([]).check()
