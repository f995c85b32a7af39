import math

import numpy as np
import pytest

from mmad.errors import InputError
from mmad.utils import (
    as_arguments,
    as_size,
    check_choice,
    check_flag,
    check_folder,
    check_number,
    check_numbers,
)


@pytest.mark.parametrize(
    'value', [math.nan, math.inf, -math.inf, '1', None, True, [1], 1j, np.nan])
def test_no_number(value):
    with pytest.raises(InputError, match='`dim` must be a finite number, got'):
        check_number('dim', value)


@pytest.mark.parametrize('value', [1.0, np.float32(1), '1'])
def test_no_whole_number(value):
    with pytest.raises(InputError, match='a whole number, got'):
        check_number('dim', value, integer=True)


def test_range():
    limits = dict(above=0, high=1)
    for value in (1e-9, 0.5, 1, np.float64(1), np.int64(1)):
        check_number('ratio', value, **limits)
    for value in (0, -1, 1.0000001):
        with pytest.raises(InputError, match='above 0 and at most 1, got'):
            check_number('ratio', value, **limits)
    check_number('ratio', 3, low=3, below=4, integer=True)
    for value in (2, 4):
        with pytest.raises(InputError, match='at least 3 and below 4, got'):
            check_number('ratio', value, low=3, below=4, integer=True)


def test_optional():
    check_number('dim', None, optional=True)
    with pytest.raises(InputError, match='number, or None, got nan'):
        check_number('dim', math.nan, optional=True)
    with pytest.raises(InputError, match='number, or "auto", got'):
        check_number('weight', [], hint='or "auto"')


def test_numbers():
    check_numbers('points', (1, 2), integer=True)
    for value in ('12', 3, None, {1: 2}):
        with pytest.raises(InputError, match='must be a list of numbers'):
            check_numbers('points', value)
    with pytest.raises(InputError, match=r'`points\[1\]` must be .* at least'):
        check_numbers('points', [1, -2], low=0)


@pytest.mark.parametrize('value', ['c', ['a'], {}, None, 1])
def test_choice(value):
    with pytest.raises(InputError, match='`kind` must be "a" or "b", got'):
        check_choice('kind', value, ('a', 'b'))
    check_choice('kind', 'b', ('a', 'b'))


def test_flag():
    check_flag('signed', False)
    for value in (0, 'False', None):
        with pytest.raises(InputError, match='must be True or False'):
            check_flag('signed', value)


@pytest.mark.parametrize(('value', 'size'), [(8, (8, 8)), ((8, 4), (8, 4)),
                                             ([1, 2], (1, 2))])
def test_size(value, size):
    assert as_size('scale', value) == size


@pytest.mark.parametrize('value', [
    0, -1, True, 2.5, None, 'ab', '12', (3, ), (3, 0), (1, 2, 3), (1, 2.0),
    (1, True), {
        1: 2,
        3: 4
    }
])
def test_no_size(value):
    with pytest.raises(InputError, match='`scale` must be one or two'):
        as_size('scale', value)


def test_arguments():
    assert as_arguments('part', None) == {}
    given = dict(a=1)
    taken = as_arguments('part', given)
    taken.pop('a')
    assert given == dict(a=1)
    for value in (3, 'a', [1]):
        with pytest.raises(InputError, match='a dict of arguments or None'):
            as_arguments('part', value)


@pytest.mark.parametrize('optional', [False, True])
def test_folder(optional, tmp_path):
    for value in (tmp_path, str(tmp_path), 'not/there'):
        check_folder('data_root', value, optional)
    for value in (3, ['a'], b'a', True):
        with pytest.raises(InputError, match='`data_root` must be the path'):
            check_folder('data_root', value, optional)


def test_no_folder():
    check_folder('held_dir', None, optional=True)
    with pytest.raises(InputError, match='path of a folder, got None'):
        check_folder('held_dir', None)
    with pytest.raises(InputError, match='path of a folder or None, got 3'):
        check_folder('held_dir', 3, optional=True)
