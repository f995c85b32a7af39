import os
from pathlib import Path

import pytest

from mmad.utils.unique_names import UniqueNames


@pytest.mark.parametrize('given', [
    [('a', '0'), ('b', '0'), ('a', '0'), ('a', '0_2'), ('A', '0')],
    [('a', 'x' * 300), ('a', 'x' * 300), ('a', 'x' * 299)],
    [('a', '部' * 200), ('a', '部' * 200), ('部' * 200, 'a')],
    [('', 'a'), ('.', 'a'), ('a', )],
    [(), ('', ), ('image', )],
])
def test_every_name_is_new_and_can_be_a_file(given, tmp_path):
    name = UniqueNames()
    names = [name(*parts) for parts in given]
    assert len({str(path).casefold() for path in names}) == len(given)
    for path in names:
        file = tmp_path / f'{path}.png'
        file.parent.mkdir(exist_ok=True)
        file.touch()
        assert not path.is_absolute()


def test_names_that_need_no_number_have_none():
    name = UniqueNames()
    assert [name('a', '0'), name('b', '0'),
            name('0')] == [Path('a/0'), Path('b/0'),
                           Path('0')]


def test_bytes_that_are_no_text_are_kept():
    part = os.fsdecode(b'\xe9')
    assert os.fsencode(UniqueNames()(part)) == b'\xe9'
