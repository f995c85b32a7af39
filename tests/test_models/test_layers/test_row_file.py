import errno
import mmap
import os
from pathlib import Path

import pytest
import torch

from mmad.models.layers.row_file import RowFile, reserve


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_rows_are_there_after_a_release(tmp_path, dtype):
    held = RowFile(tmp_path / 'new' / 'folder', 5000, 3, dtype)
    rows = torch.randn(5000, 3).to(dtype)
    assert held.rows.shape == rows.shape
    assert held.rows.dtype == dtype
    for part in torch.arange(5000).split(1000):
        held.rows[part] = rows[part]
        held.release()
    assert torch.equal(held.rows, rows)


def test_rows_outlive_what_made_them(tmp_path):
    rows = RowFile(tmp_path, 10, 2, torch.float32).rows
    rows[:] = 3
    assert (rows == 3).all()


@pytest.mark.skipif(
    not Path('/proc/self/status').exists(), reason='needs Linux')
def test_released_rows_take_no_memory(tmp_path):

    def resident():
        status = Path('/proc/self/status').read_text()
        entries = dict(line.split(':', 1) for line in status.splitlines())
        return sum(
            int(entries[name].split()[0]) for name in ('RssFile', 'RssShmem'))

    held = RowFile(tmp_path, 1 << 16, 64, torch.float32)  # 16 MiB
    before = resident()
    held.rows.fill_(1)
    assert resident() - before > 12 << 10
    held.release()
    assert resident() - before < 4 << 10
    assert float(held.rows.sum()) == 1 << 22


@pytest.mark.skipif(os.name == 'nt', reason='Windows keeps the name')
def test_nothing_is_left_in_the_folder(tmp_path):
    held = RowFile(tmp_path, 10, 2, torch.float32)
    held.rows.zero_()
    assert not list(tmp_path.iterdir())


def test_without_advice_to_the_system(tmp_path, monkeypatch):
    monkeypatch.delattr(mmap, 'MADV_DONTNEED', raising=False)
    held = RowFile(tmp_path, 10, 2, torch.float32)
    held.rows.fill_(7)
    held.release()
    assert (held.rows == 7).all()


def test_reserved_space(tmp_path):
    path = tmp_path / 'file'
    with path.open('wb') as file:
        reserve(file, 10_000)
    assert path.stat().st_size == 10_000
    if hasattr(os, 'posix_fallocate'):
        assert 512 * path.stat().st_blocks >= 10_000


@pytest.mark.skipif(
    not hasattr(os, 'posix_fallocate'), reason='needs POSIX files')
def test_a_full_disk(tmp_path, monkeypatch):

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with pytest.raises(OSError, match='No space left'):
        RowFile(tmp_path, 10, 2, torch.float32)
    assert not list(tmp_path.iterdir())
