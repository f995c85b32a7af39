import pytest

from mmad.errors import InputError
from mmad.utils.config_names import read_names


@pytest.fixture
def dead(tmp_path):
    """Names that nothing in a file, after its base, reads."""

    def names(text, base='', suffix='.py'):
        (tmp_path / 'base.py').write_text(base)
        path = tmp_path / f'leaf{suffix}'
        path.write_text(text)
        return set(read_names(path).unread_names())

    return names


@pytest.mark.parametrize(('text', 'names'), [
    ('a = 1', {'a'}),
    ('a = 1\nb = a', {'b'}),
    ('a = 1\nb = a\na = 2', {'a', 'b'}),
    ('a, (b, *c) = 1, (2, 3)\nd = b', {'a', 'c', 'd'}),
    ('a = 1\na += 1', {'a'}),
    ('a: int = 1', {'a'}),
    ('a = {}\na["b"] = 1', set()),
    ('a = 1\ndef f():\n    return a', set()),
    ('def f():\n    a = 1', set()),
    ('import os\nfrom os import path', set()),
    ('for a in (1, 2):\n    b = a', {'b'}),
    ('if True:\n    a = 1\nelse:\n    b = 2', {'a', 'b'}),
    ('a = 1\nb = [a for a in (1, )]', {'b'}),
    ('_base_ = "base.py"', set()),
])
def test_assigned_and_not_read(dead, text, names):
    assert dead(text) == names


@pytest.mark.parametrize(('text', 'names'), [
    ('_base_ = "base.py"', {'a', 'b'}),
    ('_base_ = ["base.py"]\nc = _base_.a', {'b', 'c'}),
    ('_base_ = "./base.py"\nc = {{_base_.b}}', {'a', 'c'}),
    ('with read_base():\n    from .base import *\nc = dict(d=a)', {'b', 'c'}),
])
def test_what_an_heir_reads_is_not_dead(dead, text, names):
    assert dead(text, 'a = 1\nb = 2') == names


@pytest.mark.parametrize(('text', 'suffix'), [('a: 1\nb: 2', '.yaml'),
                                              ('a: 1\nb: 2', '.yml'),
                                              ('{"a": 1, "b": 2}', '.json')])
def test_other_forms_have_no_helpers(dead, text, suffix):
    assert dead(text, suffix=suffix) == {'a', 'b'}


@pytest.mark.parametrize('value', ["o'brien", 'a"b', 'C:\\x', 'a\nb', '{', ''])
def test_variables_that_would_break_the_text(dead, monkeypatch, value):
    text = "a = '{{$PLACE:x}}'"
    assert dead(text) == {'a'}
    monkeypatch.setenv('PLACE', value)
    with pytest.raises(InputError, match='environment variable PLACE'):
        dead(text)
    monkeypatch.setenv('PLACE', '/a b/ä')
    assert dead(text) == {'a'}


def test_nothing_in_a_file_is_run(dead, tmp_path):
    dead(f'open({str(tmp_path / "written")!r}, "w")')
    assert not (tmp_path / 'written').exists()
