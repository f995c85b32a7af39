import shutil
from pathlib import Path

import pytest

from mmad.apis.fitted_images import find_fitted, find_forgotten, read_names
from mmad.errors import InputError
from mmad.utils.packed_names import pack_names

NAMES = ['/a/good/0.png', '/a/good/1.png', '/b/good/1.png']


@pytest.fixture
def fitted(tmp_path):
    """Three files, of which the first two have the same name."""
    files = [tmp_path / name for name in ('a/0.png', 'b/0.png', 'a/1.png')]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text(str(file))
    return [str(file) for file in files]


@pytest.mark.parametrize('stored', [pack_names(NAMES), NAMES])
def test_names(stored):
    state = dict(meta=dict(fitted_images=stored))
    assert read_names(state, 3) == NAMES
    # Those of another fit.
    assert read_names(state, 2) == []


@pytest.mark.parametrize(
    'state', [{}, dict(meta=None), dict(meta={})] + [
        dict(meta=dict(fitted_images=names))
        for names in (None, 'abc', [1, 2, 3])
    ])
def test_a_checkpoint_without_names(state):
    assert read_names(state, 3) == []


def test_the_same_files(fitted, monkeypatch, tmp_path):
    assert find_fitted(fitted[::-1], fitted) == [2, 1, 0]
    monkeypatch.chdir(tmp_path)
    assert find_fitted(['b/../b/0.png', Path('a/1.png')], fitted) == [1, 2]


def test_copies(fitted, tmp_path):
    copy = tmp_path / '0.png'
    shutil.copy(fitted[1], copy)
    renamed = shutil.copy(fitted[1], tmp_path / '2.png')
    other = tmp_path / '1.png'
    other.write_text('another image')
    assert find_fitted([copy, renamed, other], fitted) == [1, None, None]


def test_files_that_are_gone(fitted, tmp_path):
    moved = [tmp_path / 'c' / Path(name).name for name in fitted]
    shutil.rmtree(tmp_path / 'a')
    shutil.rmtree(tmp_path / 'b')
    # Two have had the name of the first.
    assert find_fitted(moved, fitted) == [None, None, 2]


@pytest.mark.parametrize(('paths', 'expected'), [
    (['0.png'], [0]),
    (['good/0.png', '0.png'], [0]),
    (['b/good/1.png', '/a/good/0.png'], [0, 2]),
    ([Path('a/good/1.png')], [1]),
    ([], []),
])
def test_forgotten(paths, expected):
    assert find_forgotten(paths, NAMES) == expected


@pytest.mark.parametrize(('path', 'match'), [
    ('1.png', '2 of the 3 fitted images.* end in this path'),
    ('od/1.png', 'none of the 3 fitted images.* ends in this path'),
    ('', 'none of the 3'),
    ('good', 'none of the 3'),
])
def test_what_names_no_image(path, match):
    with pytest.raises(InputError, match=match):
        find_forgotten([path], NAMES)


def test_nothing_is_forgotten_without_names():
    with pytest.raises(InputError, match='does not name the images'):
        find_forgotten(['0.png'], [])
