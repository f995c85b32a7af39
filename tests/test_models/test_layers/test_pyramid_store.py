import errno
import gc
import os
import signal

import pytest
import torch
import torch.multiprocessing as mp

from mmad.errors import InputError
from mmad.models.layers import PyramidStore, partial_folder, pyramid_store

SHAPES = [(5, 4, 3, 3), (5, 2, 2, 6)]


def content(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(n, c, h, w, generator=generator) for n, h, w, c in SHAPES
    ]


def rows(level):
    """As the store holds them."""
    return level.flatten(2).mT


def reset(store, token):
    store.num_images = 5
    store.reset()
    store._token = token


def put(store, numbers, levels):
    numbers = list(numbers)
    store.update([level[numbers] for level in levels], numbers)


def fill(store, levels, order=(3, 0, 4, 1, 2), token=1):
    reset(store, token)
    for numbers in (order[:2], order[2:]):
        put(store, numbers, levels)
    store.complete(levels[0][:, 0])
    return store


def folders(parent):
    return sorted(path.name for path in parent.iterdir() if path.is_dir())


def begin(parent, token):
    store = PyramidStore(2, folder=parent)
    reset(store, token)
    put(store, [0], content(token))
    return store


def begin_and_die(parent, token):
    store = begin(parent, token)
    assert store.levels
    os.kill(os.getpid(), signal.SIGKILL)


def run_to_its_end(function, *args):
    process = mp.get_context('fork').Process(target=function, args=args)
    process.start()
    process.join()
    return process.exitcode


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
            expected = rows(own)[number].to(getattr(torch, dtype)).float()
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
    assert set(fill(PyramidStore(2),
                    content()).state_dict()) == names | {'level_0', 'level_1'}


def test_a_new_fit_leaves_the_files_of_the_old_one(tmp_path):
    old = fill(PyramidStore(2, folder=tmp_path), content()).state_dict()
    store = PyramidStore(2, folder=tmp_path)
    reset(store, 2)
    put(store, [0], content(1))  # goes on for long
    fill(PyramidStore(2, folder=tmp_path), content(2))
    assert len(folders(tmp_path)) == 3
    store.load_state_dict(old)
    assert torch.equal(store.levels[0], rows(content()[0]))


def test_the_same_fit_again(tmp_path):
    for _ in range(2):
        store = fill(PyramidStore(2, folder=tmp_path), content())
        assert torch.equal(store.levels[1], rows(content()[1]))
    assert len(folders(tmp_path)) == 1


def test_reading_changes_no_file(tmp_path):
    store = fill(PyramidStore(2, folder=tmp_path), content())
    store.levels[0].zero_()
    other = PyramidStore(2, folder=tmp_path)
    other.load_state_dict(store.state_dict())
    assert torch.equal(other.levels[0], rows(content()[0]))


@pytest.mark.parametrize('damage', ['remove', 'shorten'])
def test_missing_file(tmp_path, damage):
    state = fill(PyramidStore(2, folder=tmp_path), content()).state_dict()
    file, = tmp_path.glob('*/level_1.bin')
    if damage == 'remove':
        file.unlink()
    else:
        os.truncate(file, 7)
    with pytest.raises(
            InputError,
            match=r'level_1\.bin" of this checkpoint '
            'is missing or of another size'):
        PyramidStore(2, folder=tmp_path).load_state_dict(state)
    fill(PyramidStore(2, folder=tmp_path), content())  # as the sentence says
    PyramidStore(2, folder=tmp_path).load_state_dict(state)


def test_two_fits_at_the_same_time(tmp_path):
    one, other = (PyramidStore(2, folder=tmp_path) for _ in range(2))
    reset(one, 1)
    reset(other, 2)
    for store, seed in ((one, 0), (other, 1)):
        put(store, range(5), content(seed))
    for store, seed in ((one, 0), (other, 1)):
        store.complete(content(seed)[0])
        assert torch.equal(store.levels[1], rows(content(seed)[1]))


def test_processes_that_see_other_folders(tmp_path, monkeypatch):
    store = PyramidStore(2, folder=tmp_path)
    reset(store, 1)
    put(store, range(5), content())
    # As if there were two.
    monkeypatch.setattr(pyramid_store, 'all_reduce_', lambda value: 2 * value)
    with pytest.raises(InputError, match='2 processes wrote a gallery, but 1'):
        store.complete(content()[0])


def test_too_large_for_half_precision():
    store = PyramidStore(2, 'float16')
    reset(store, 1)
    with pytest.raises(InputError, match='beyond 65504'):
        put(store, [0], [1e5 * level for level in content()])


def test_another_grid():
    store = PyramidStore(2)
    reset(store, 1)
    put(store, [0], content())
    with pytest.raises(InputError, match='one size'):
        put(store, [1], [level[..., :1] for level in content()])


def test_full_disk(tmp_path, monkeypatch):

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with pytest.raises(InputError, match='cannot be written'):
        begin(tmp_path, 1)
    assert not folders(tmp_path)


def test_unknown_dtype():
    with pytest.raises(InputError, match='"float32" or "float16"'):
        PyramidStore(2, 'int8')


def test_what_a_killed_fit_left_is_removed(tmp_path):
    running = begin(tmp_path, 7)
    for token in (1, 2):
        assert run_to_its_end(begin_and_die, tmp_path, token) < 0
    # The second has removed the first.
    assert folders(tmp_path) == ['partial-2', 'partial-7']
    other = begin(tmp_path, 8)
    assert folders(tmp_path) == ['partial-7', 'partial-8']
    for store, seed in ((running, 0), (other, 1)):
        put(store, range(5), content(seed))
        store.complete(content(seed)[0])
        assert torch.equal(store.levels[1], rows(content(seed)[1]))
    assert len(folders(tmp_path)) == 2
    assert not list(tmp_path.glob('partial-*'))


def test_one_of_several_processes_is_killed(tmp_path):
    # The others of the same fit may still be writing.
    running = begin(tmp_path, 3)
    assert run_to_its_end(begin_and_die, tmp_path, 3) < 0
    begin(tmp_path, 4)
    assert 'partial-3' in folders(tmp_path)
    assert len(running.levels) == 2


def fail(parent, error):
    store = begin(parent, 1)
    assert store.levels
    raise error


@pytest.mark.parametrize('error', [KeyboardInterrupt, InputError])
def test_a_fit_that_fails_leaves_nothing(tmp_path, error):
    with pytest.raises(error):
        fail(tmp_path, error())
    gc.collect()
    assert not list(tmp_path.glob('partial-*'))


def test_a_fork_takes_nothing_away(tmp_path):
    store = begin(tmp_path, 1)
    assert run_to_its_end(store._partial.remove) == 0
    assert folders(tmp_path) == ['partial-1']


def test_fitting_again_gives_up_what_was_begun(tmp_path):
    store = begin(tmp_path, 1)
    reset(store, 2)
    put(store, [0], content())
    assert folders(tmp_path) == ['partial-2']


def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):

    def refuse(*args, **kwargs):
        raise NotImplementedError

    (tmp_path / 'partial-1').mkdir()
    monkeypatch.setattr(partial_folder.FileLock, 'acquire', refuse)
    fill(PyramidStore(2, folder=tmp_path), content(), token=2)
    assert len(folders(tmp_path)) == 2
