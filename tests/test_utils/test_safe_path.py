import itertools
from pathlib import Path

import numpy as np
import pytest

from mmad.errors import InputError
from mmad.utils.safe_path import leads_outside, safe_path

BAD = [
    '/etc/passwd', '..', '../x', 'x/..', 'x/../../y', './../x', '//x', 'C:\\x',
    '\\x', '..\\x', 'x\\..\\y', '\\\\host\\share', 'a\0b'
]
GOOD = [
    'x', 'x/y', '..x', 'x..', '...', 'a b', 'a: b', "o'brien", 'ä', '.x',
    './x', 'x//y', '~', '$HOME', '%2e%2e'
]


@pytest.mark.parametrize('name', BAD)
@pytest.mark.parametrize('place', [0, 1, 2])
def test_names_that_lead_outside(name, place):
    parts = ['a', 'b']
    parts.insert(place, name)
    with pytest.raises(InputError, match='would lead outside of "folder"'):
        safe_path('folder', *parts)


def test_which_names_lead_outside():
    assert all(map(leads_outside, BAD))
    assert not any(map(leads_outside, GOOD))


@pytest.mark.parametrize('names', itertools.product(GOOD, GOOD[:4]))
def test_names_that_stay_inside(tmp_path, names):
    path = safe_path(tmp_path, *names)
    assert path == tmp_path.joinpath(*names)
    assert path.resolve().is_relative_to(tmp_path)


def test_random_names_never_lead_outside(tmp_path):
    rng = np.random.default_rng(0)
    letters = list('ab./\\:\0~ ')
    for _ in range(2000):
        parts = [
            ''.join(rng.choice(letters, rng.integers(1, 8)))
            for _ in range(rng.integers(1, 3))
        ]
        try:
            path = safe_path(tmp_path, *parts)
        except InputError:
            continue
        assert path.resolve().is_relative_to(tmp_path), parts
        assert path != tmp_path


@pytest.mark.parametrize('parts', [(), ('', ), ('.', ), ('', './')])
def test_names_of_nothing(parts):
    with pytest.raises(InputError, match='name no file'):
        safe_path('folder', *parts)


def test_the_folder_itself_may_lie_anywhere():
    assert safe_path('../x', 'y') == Path('../x/y')
    assert safe_path('/x', 'y') == Path('/x/y')
