import io
import os

import pytest
import torch

from mmad.apis.fitted_images import read_names
from mmad.utils.packed_names import pack_names, unpack_names

LISTS = [
    [],
    [''],
    ['', ''],
    ['a'],
    ['/data/a.png', '/data/b.png'],
    ['/data/a.png', '/data/a.png'],
    ['/data', '/data/a\nb.png', '/data/ü 名.png'],
    [os.fsdecode(b'/data/\xff.png'), '/other'],
    # The common beginning is no whole name, and longer than may be kept.
    [5000 * 'a' + 'b', 5000 * 'a' + 'c'],
]


@pytest.mark.parametrize('names', LISTS)
def test_names_come_back(names):
    packed = pack_names(names)
    assert packed.dtype == torch.uint8
    assert unpack_names(packed) == names


@pytest.mark.parametrize('names', LISTS)
@pytest.mark.parametrize('form', [pack_names, list])
def test_checkpoints_hold_a_tensor_or_as_before_a_list(names, form):
    buffer = io.BytesIO()
    torch.save(dict(meta=dict(fitted_images=form(names))), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    assert read_names(state, len(names)) == names
    assert read_names(state, len(names) + 1) == []


def test_a_name_takes_what_tells_it_from_others():
    names = [f'/somewhere/far/away/{i:06}.png' for i in range(1000)]
    assert len(pack_names(names)) < 9 * len(names)


@pytest.mark.parametrize('odd', [
    torch.zeros(3),
    torch.zeros(3, 3, dtype=torch.uint8),
    torch.tensor([65] * 4097 + [0] * 100, dtype=torch.uint8),
])
def test_what_was_not_packed_has_no_names(odd):
    assert unpack_names(odd) == []
