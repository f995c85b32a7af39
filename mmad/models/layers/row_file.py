import mmap
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

import torch


class RowFile:
    """Rows in a memory-mapped file without a name.

    The system removes the file when nothing refers to it any more, or the
    process ends in whatever way.

    Args:
        folder (Path): Where the file is; made if it is not there.
        num_rows (int): Number of rows.
        dim (int): Values of a row.
        dtype (torch.dtype): Of the values.

    Attributes:
        rows (Tensor): ``(num_rows, dim)``, on the CPU.

    Raises:
        OSError: The folder cannot be written to, or has no room.
    """

    def __init__(self, folder: Path, num_rows: int, dim: int,
                 dtype: torch.dtype) -> None:
        size = num_rows * dim * dtype.itemsize
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            reserve(file, size)
            self._map = mmap.mmap(file.fileno(), size)
        self.rows = torch.frombuffer(self._map, dtype=dtype).view(-1, dim)

    def release(self) -> None:
        """Take the rows out of the memory of this process; they stay."""
        if hasattr(mmap, 'MADV_DONTNEED'):
            self._map.madvise(mmap.MADV_DONTNEED)


def reserve(file: BinaryIO, size: int) -> None:
    """Make an empty file so long, in bytes, before it is mapped.

    Raises:
        OSError: There is no room for it.
    """
    file.truncate(size)
    # Else a full disk would be found out by a signal.
    if hasattr(os, 'posix_fallocate'):
        os.posix_fallocate(file.fileno(), 0, size)
