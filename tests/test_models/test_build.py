import pytest
from torch import nn

from mmad.errors import InputError
from mmad.models.build import build_part


def test_from_a_config():
    part = build_part(dict(type='PatchNetwork', patch_size=17, width=0.02))
    assert type(part).__name__ == 'PatchNetwork'


def test_a_module_is_taken_as_it_is():
    part = nn.Conv2d(3, 4, 1)
    assert build_part(part) is part


@pytest.mark.parametrize('part', [None, 'PatchNetwork', {}, dict(width=1)])
def test_what_is_neither_is_refused(part):
    with pytest.raises(InputError, match='must be a dict with its `type`, go'):
        build_part(part)
