import math

import pytest

from mmad.evaluation.report import (
    describe_conditions,
    is_known,
    is_table_value,
    plain_value,
    short_value,
    sort_metrics,
)


@pytest.mark.parametrize(('name', 'value', 'text'), [
    ('image_auroc', 0.1234, '12.3%'),
    ('full/aupro', 1, '100.0%'),
    ('rmse', 12.34567, '12.35'),
    ('count', 3, '3'),
    ('aupro', 'undefined', 'undefined'),
    ('rmse', '-infinity', '-infinity'),
    ('curve', [1, 2], '-'),
    ('name', 'x', '-'),
    ('none', None, '-'),
])
def test_short_value(name, value, text):
    assert short_value(name, value, '%') == text
    assert is_table_value(value) == (text != '-')


@pytest.mark.parametrize(('name', 'known'), [('aupro', True),
                                             ('a/b/aupro', True),
                                             ('aupro/b', False),
                                             ('auspro_mean', True),
                                             ('pro', False)])
def test_is_known(name, known):
    assert is_known(name) == known


def test_plain_value_of_what_is_plain():
    value = dict(a=[1, 0.5, None, True, 'x', dict(b=[])])
    assert plain_value(value) == value
    assert plain_value((math.nan, math.inf)) == ['undefined', 'infinity']


def test_no_entry_of_a_dict_is_lost():
    values = {
        'a': {
            'b/c': 1
        },
        'a/b': {
            'c': 2,
            'd': 3
        },
        'x': {
            'y': 4
        },
        'x/y': 5,
        'z': {}
    }
    assert sort_metrics(values) == {
        'a/b/c': 1,
        'a/b': {
            'c': 2,
            'd': 3
        },
        'x': {
            'y': 4
        },
        'x/y': 5,
        'z': {}
    }


def test_conditions_of_both_overlaps():
    conditions = dict(
        resolution='input',
        fpr_limit=0.3,
        score_bits=None,
        map_size='8x8',
        pixel_empty_masks=1,
        spro_resolution='original',
        spro_fpr_limit=0.05,
        spro_score_bits=20,
        spro_map_size='90x80',
        spro_cropped_images=2,
        spro_empty_masks=0,
        spro_defects_removed=3)
    pixels = ('pixel metrics at model input 8x8; AUPRO up to FPR 0.3; 1 '
              'defective images with an empty mask')
    spro = ('AUsPRO at the original resolution 90x80 up to FPR 0.05; pixels '
            'outside the crop left out; scores kept to 20 bits; 3 defective '
            'images without a defect left')
    assert describe_conditions(conditions) == f'{pixels}; {spro}'
    prefixed = {f'a/{name}': value for name, value in conditions.items()}
    assert describe_conditions(prefixed) == (f'{pixels}; {spro}'.replace(
        'pixel metrics',
        'a/pixel metrics').replace('AUPRO',
                                   'a/AUPRO').replace('AUsPRO', 'a/AUsPRO'))
    del conditions['spro_map_size']
    assert describe_conditions(conditions) == pixels
