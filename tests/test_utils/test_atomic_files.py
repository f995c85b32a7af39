import errno
import os
import signal
import stat

import pytest
from mmengine.fileio import get_file_backend, put

from mmad.errors import InputError
from mmad.utils import atomic_files
from mmad.utils.atomic_files import (
    open_atomically,
    register_atomic_backend,
    write_atomically,
)

fcntl = pytest.importorskip('fcntl')


def in_child(function):
    """Run it in a forked process; the status that this one ends with."""
    child = os.fork()
    if not child:
        try:
            function()
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def test_write(tmp_path):
    path = tmp_path / 'new' / 'folder' / 'file'
    for content in (b'first', b'', b'second'):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ['file']


def test_a_file_that_is_not_finished_is_not_there(tmp_path):
    path = tmp_path / 'file'
    write_atomically(path, b'earlier')
    with pytest.raises(TypeError), open_atomically(path) as file:
        file.writelines([b'half', 'and no bytes'])
    assert path.read_bytes() == b'earlier'
    assert os.listdir(tmp_path) == ['file']
    with open_atomically(path) as file:
        for part in (b'a', b'', b'bc'):
            file.write(part)
        assert path.read_bytes() == b'earlier'
    assert path.read_bytes() == b'abc'


@pytest.mark.parametrize(('umask', 'mode'), [(0o022, 0o644), (0o077, 0o600)])
def test_mode_follows_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / 'file', b'')
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / 'file').stat().st_mode) == mode


@pytest.mark.parametrize('name', ['fsync', 'chmod', 'replace'])
@pytest.mark.parametrize('old', [b'old', None])
def test_killed(tmp_path, monkeypatch, name, old):
    path = tmp_path / 'file'
    if old is not None:
        path.write_bytes(old)

    def write():
        monkeypatch.setattr(os, name,
                            lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        write_atomically(path, b'new' * 1000)

    assert os.WTERMSIG(in_child(write)) == signal.SIGKILL
    assert (path.read_bytes() if path.exists() else None) == old
    write_atomically(path, b'newer')
    assert path.read_bytes() == b'newer'
    # Nor is anything left of the first attempt.
    assert os.listdir(tmp_path) == ['file']


def test_many_writers_of_one_file(tmp_path):
    path = tmp_path / 'file'

    def write(letter):
        for number in range(200):
            write_atomically(path, letter * (10000 + number))
        os._exit(0)

    children = []
    for letter in (b'a', b'b', b'c'):
        children.append(os.fork())
        if not children[-1]:
            try:
                write(letter)
            finally:
                os._exit(1)
    seen = 0
    while children:
        if path.exists():
            content = path.read_bytes()
            assert len(content) >= 10000
            assert len(set(content)) == 1
            seen += 1
        done, status = os.waitpid(-1, os.WNOHANG)
        if done:
            assert status == 0
            children.remove(done)
    assert seen
    assert os.listdir(tmp_path) == ['file']


@pytest.mark.parametrize('fault', ['no_module', 'no_locks', 'a_link'])
def test_without_locks(tmp_path, monkeypatch, fault):
    path = tmp_path / 'file'
    other = tmp_path / 'other'
    other.write_bytes(b'other')

    def refuse(*args):
        raise OSError(errno.ENOLCK, 'no locks')

    if fault == 'no_module':
        monkeypatch.setattr(atomic_files, 'fcntl', None)
    elif fault == 'no_locks':
        monkeypatch.setattr(fcntl, 'flock', refuse)
    else:
        (tmp_path / '.file.partial').symlink_to(other)
    for content in (b'first', b'second'):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert other.read_bytes() == b'other'


@pytest.mark.parametrize('old', [b'old', None])
def test_full_disk(tmp_path, old):
    resource = pytest.importorskip('resource')
    path = tmp_path / 'file'
    if old is not None:
        path.write_bytes(old)

    def write():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            write_atomically(path, b'new' * 10000)
        except InputError as error:
            if 'File too large' in str(error) and f'"{path}"' in str(error):
                os._exit(7)

    assert os.waitstatus_to_exitcode(in_child(write)) == 7
    assert os.listdir(tmp_path) == ([] if old is None else ['file'])
    assert (path.read_bytes() if path.exists() else None) == old


def test_name_of_a_folder(tmp_path):
    (tmp_path / 'file').mkdir()
    with pytest.raises(InputError, match='cannot be written'):
        write_atomically(tmp_path / 'file', b'')
    assert os.listdir(tmp_path) == ['file']


def test_mmengine_writes_through_it(tmp_path, monkeypatch):
    put(b'', str(tmp_path / 'a'))  # MMEngine now has a back end of its own
    register_atomic_backend()
    replaced = []
    replace = os.replace
    monkeypatch.setattr(os, 'replace',
                        lambda *a: replaced.append(a[1]) or replace(*a))
    put(b'content', str(tmp_path / 'a'))
    get_file_backend(str(tmp_path)).put_text('grün', str(tmp_path / 'b'))
    assert [path.name for path in replaced] == ['a', 'b']
    assert (tmp_path / 'a').read_bytes() == b'content'
    assert (tmp_path / 'b').read_text('utf-8') == 'grün'
