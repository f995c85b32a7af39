import math

import pytest

from mmad.evaluation.report import (
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
