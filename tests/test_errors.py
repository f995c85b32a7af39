import os

import pytest

from mmad.errors import printable


@pytest.mark.parametrize(('name', 'shown'), [
    ('scratch', 'scratch'),
    ('Größe 日本 \'"%', 'Größe 日本 \'"%'),
    (os.fsdecode(b'kr\xe4tz'), 'kr\\udce4tz'),
    ('a\nb\rc', 'a\\nb\\rc'),
    ('\x1b[31m\u202e', '\\x1b[31m\\u202e'),
    ('\ud800', '\\ud800'),
    ('', ''),
])
def test_one_line_of_characters(name, shown):
    assert printable(name) == shown
    assert printable(name).encode().decode() == shown
