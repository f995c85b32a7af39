import os
import shutil
import uuid
import weakref
from pathlib import Path

from filelock import FileLock, Timeout

# Held while folders come and go, so that nobody takes a new one for one that
# was left behind.
_GUARD = '.partial.lock'


class PartialFolder:
    """A folder that several processes fill, removed if one of them fails.

    Each of them holds a lock of its own beside it, which the system takes
    away from one that is killed. The next to begin in the same parent removes
    the folders whose locks are all free, and leaves those alone that are
    being filled. Where the file system has no locks nothing is removed.

    It is also removed with this object, or when the program ends, unless
    :meth:`release` was called.

    Args:
        parent (Path): Folder that it lies in; made if it is not there.
        token (int): Tells it from others; the same in all processes.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, parent: Path, token: int) -> None:
        self.path = parent / f'partial-{token:x}'
        self._lock = None
        parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(parent / _GUARD, timeout=60):
                _remove_stale(parent, self.path.name)
                self.path.mkdir(exist_ok=True)
                lock = FileLock(parent /
                                f'{self.path.name}.{uuid.uuid4().hex}.lock')
                lock.acquire()
                self._lock = lock
        except NotImplementedError:  # no locks
            self.path.mkdir(exist_ok=True)
        self._removal = weakref.finalize(self, _remove, self.path, self._lock,
                                         os.getpid())

    def remove(self) -> None:
        """Remove the folder."""
        self._removal()

    def release(self) -> None:
        """Keep the folder, which may have another name by now."""
        if self._removal.detach() and self._lock is not None:
            _free(self._lock)


def _remove(path: Path, lock: FileLock | None, process: int) -> None:
    if os.getpid() != process:  # a fork, of a data loader for one
        return
    shutil.rmtree(path, ignore_errors=True)
    if lock is not None:
        _free(lock)


def _free(lock: FileLock) -> None:
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def _remove_stale(parent: Path, own: str) -> None:
    names = {path.name.split('.')[0]
             for path in parent.glob('partial-*')} - {own}
    for name in names:
        locks = [FileLock(path) for path in parent.glob(f'{name}.*.lock')]
        try:
            for lock in locks:
                lock.acquire(timeout=0)
        except Timeout:
            for lock in locks:
                lock.release()
            continue
        shutil.rmtree(parent / name, ignore_errors=True)
        for lock in locks:
            _free(lock)
