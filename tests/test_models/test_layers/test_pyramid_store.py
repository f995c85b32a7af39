import errno
import os

import pytest
import torch

from mmad.errors import InputError
from mmad.models.layers import PyramidStore

SHAPES = [(5, 4, 3, 3), (5, 2, 2, 6)]


def add_up(value):
    """The sum over one process."""


def content(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, h * w, c, generator=generator)
            for n, h, w, c in SHAPES]


def fill(store, levels, order=(3, 0, 4, 1, 2), token=1):
    store.reserve(SHAPES, token)
    for numbers in (list(order[:2]), list(order[2:])):
        store.put(numbers, [level[numbers] for level in levels])
    store.finish(levels[0][:, 0], add_up)
    return store


@pytest.fixture(params=['memory', 'files'])
def folder(request, tmp_path):
    return None if request.param == 'memory' else tmp_path / 'gallery'


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_gives_back_what_was_put(folder, dtype):
    levels = content()
    store = fill(PyramidStore(2, dtype, folder), levels)
    for number in range(5):
        for level, own in zip(store.image(number), levels, strict=True):
            assert level.dtype == torch.float32
            expected = own[number].to(getattr(torch, dtype)).float()
            assert torch.equal(level, expected)


def test_state_dict_round_trip(folder):
    store = fill(PyramidStore(2, folder=folder), content())
    other = PyramidStore(2, folder=folder)
    other.load_state_dict(store.state_dict())
    assert len(other.levels) == 2
    for mine, theirs in zip(other.levels, store.levels, strict=True):
        assert torch.equal(mine, theirs)


def test_state_holds_the_stages_only_in_memory(tmp_path):
    names = {'shapes', 'digest'}
    assert set(fill(PyramidStore(2, folder=tmp_path),
                    content()).state_dict()) == names
    assert set(fill(PyramidStore(2), content()).state_dict()) == names | {
        'level_0', 'level_1'
    }


def test_a_new_fit_leaves_the_files_of_the_old_one(tmp_path):
    old = fill(PyramidStore(2, folder=tmp_path), content()).state_dict()
    store = PyramidStore(2, folder=tmp_path)
    store.reserve(SHAPES, 2)
    store.put([0], [level[:1] for level in content(1)])  # killed here
    fill(PyramidStore(2, folder=tmp_path), content(2))
    assert len(list(tmp_path.glob('partial-*'))) == 1
    assert len(list(tmp_path.iterdir())) == 3
    store.load_state_dict(old)
    assert torch.equal(store.levels[0], content()[0])


def test_the_same_fit_again(tmp_path):
    for _ in range(2):
        store = fill(PyramidStore(2, folder=tmp_path), content())
        assert torch.equal(store.levels[1], content()[1])
    assert len(list(tmp_path.iterdir())) == 1


def test_reading_changes_no_file(tmp_path):
    store = fill(PyramidStore(2, folder=tmp_path), content())
    store.levels[0].zero_()
    other = PyramidStore(2, folder=tmp_path)
    other.load_state_dict(store.state_dict())
    assert torch.equal(other.levels[0], content()[0])


@pytest.mark.parametrize('damage', ['remove', 'shorten'])
def test_missing_file(tmp_path, damage):
    state = fill(PyramidStore(2, folder=tmp_path), content()).state_dict()
    file, = tmp_path.glob('*/level_1.bin')
    if damage == 'remove':
        file.unlink()
    else:
        os.truncate(file, 7)
    with pytest.raises(InputError, match=r'level_1\.bin" of this checkpoint '
                       'is missing or of another size'):
        PyramidStore(2, folder=tmp_path).load_state_dict(state)
    fill(PyramidStore(2, folder=tmp_path), content())  # as the sentence says
    PyramidStore(2, folder=tmp_path).load_state_dict(state)


def test_two_fits_at_the_same_time(tmp_path):
    one, other = (PyramidStore(2, folder=tmp_path) for _ in range(2))
    one.reserve(SHAPES, 1)
    other.reserve(SHAPES, 2)
    for store, seed in ((one, 0), (other, 1)):
        store.put(range(5), content(seed))
    for store, seed in ((one, 0), (other, 1)):
        store.finish(content(seed)[0], add_up)
        assert torch.equal(store.levels[1], content(seed)[1])


def test_processes_that_see_other_folders(tmp_path):
    def of_two_processes(value):
        value += value

    store = PyramidStore(2, folder=tmp_path)
    store.reserve(SHAPES, 1)
    store.put(range(5), content())
    with pytest.raises(InputError, match='2 processes wrote a gallery, but 1'):
        store.finish(content()[0], of_two_processes)


def test_too_large_for_half_precision():
    store = PyramidStore(2, 'float16')
    store.reserve(SHAPES, 1)
    with pytest.raises(InputError, match='beyond 65504'):
        store.put([0], [1e5 * level[:1] for level in content()])


def test_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with pytest.raises(InputError, match='cannot be written'):
        PyramidStore(2, folder=tmp_path).reserve(SHAPES, 1)
    assert not list(tmp_path.iterdir())


def test_unknown_dtype():
    with pytest.raises(InputError, match='"float32" or "float16"'):
        PyramidStore(2, 'int8')
