"""Write files as a whole or not at all."""
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mmengine.fileio import LocalBackend, io, register_backend

from mmad.errors import InputError


def write_atomically(path: str | Path, content: bytes | memoryview) -> None:
    """Write a file as a whole; a crash leaves the old file, or none.

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
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f'.{path.name}.')
        with os.fdopen(handle, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise InputError(
            f'"{path}" cannot be written ({error.strerror}), and an earlier '
            'version of it, if any, was not changed; free some space or '
            'choose another place.') from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


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
