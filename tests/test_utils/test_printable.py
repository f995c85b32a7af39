import os

import pytest

from mmad.utils import printable


@pytest.mark.parametrize(('name', 'shown'), [
    ('scratch', 'scratch'),
    ('Größe 日本 \'"%', 'Größe 日本 \'"%'),
    (os.fsdecode(b'kr\xe4tz'), 'kr\\xe4tz'),
    ('a\nb\rc', 'a\\nb\\rc'),
    ('', ''),
])
def test_one_line_of_characters(name, shown):
    assert printable(name) == shown
    assert printable(name).encode().decode() == shown
