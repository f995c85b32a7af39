"""Write files as a whole or not at all."""
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from mmengine.fileio import LocalBackend, io, register_backend

from mmad.errors import InputError


def write_atomically(path: str | Path, content: bytes | memoryview) -> None:
    """Write a file as a whole; a crash leaves the old file, or none.

    What a killed process has written so far, ``.NAME.partial`` beside the
    file, the next one to write the file makes use of.

    Raises:
        InputError: If the content cannot be written, for example to a full
            disk. An existing file is not changed then.
    """
    with open_atomically(path) as file:
        file.write(content)


@contextmanager
def open_atomically(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file that is there as a whole once the context has ended.

    Yields:
        BinaryIO: The file, to be written to.

    Raises:
        InputError: As :func:`write_atomically`.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _open_temporary(path)
        # It is replaced or removed while it is locked.
        with os.fdopen(handle, 'wb') as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.chmod(temporary, 0o666 & ~_umask())
                _close_on_windows(file)
                os.replace(temporary, path)
            except BaseException:
                _close_on_windows(file)
                os.unlink(temporary)
                raise
    except OSError as error:
        raise InputError(
            f'"{path}" cannot be written ({error.strerror}), and an earlier '
            'version of it, if any, was not changed; free some space or '
            'choose another place.') from error


def _open_temporary(path: Path) -> tuple[int, str | Path]:
    """Open the empty file that is to replace another one.

    It has a name of its own only if another process is writing the same file,
    or the file system has no locks.
    """
    temporary = path.with_name(f'.{path.name}.partial')
    while fcntl is not None:
        try:
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW,
                             0o600)
        except OSError:
            break
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, temporary):
                os.ftruncate(handle, 0)
                return handle, temporary
        except OSError:
            os.close(handle)
            break
        # Another process has just completed it.
        os.close(handle)
    return tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _close_on_windows(file: BinaryIO) -> None:
    # It neither renames nor removes an open file.
    if fcntl is None:
        file.close()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class AtomicLocalBackend(LocalBackend):
    """The local file back end of MMEngine, with atomic writes."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_atomically(filepath, obj)

    def put_text(self,
                 obj: str,
                 filepath: str | Path,
                 encoding: str = 'utf-8') -> None:
        write_atomically(filepath, obj.encode(encoding))


def register_atomic_backend() -> None:
    """Make MMEngine write checkpoints and other local files atomically."""
    register_backend('local', AtomicLocalBackend, force=True, prefixes='')
    # MMEngine would continue to use the back ends that it has cached.
    io.backend_instances.clear()
