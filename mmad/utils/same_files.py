import hashlib
import os
from collections.abc import Mapping

from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, get_world_size

from mmad.errors import InputError

# Names of a data set that are compared.
_NUM_NAMES = 1000
# Bytes at the end of a file that are compared. That of a checkpoint lists the
# checksums of all its parts.
_TAIL = 1 << 20


def check_same_files(data: Mapping[str, BaseDataset],
                     files: Mapping[str, str | None]) -> None:
    """Check that all processes of a distributed run have the same files.

    Nodes need no shared folder, so one of them may have an older copy. Images
    would then be left out or taken twice, or a resumed training would begin
    at different epochs.

    Args:
        data (Mapping[str, BaseDataset]): Data sets by the names of their
            loaders. Their sizes, and the names of at most a thousand images,
            are compared; folders may be others on each node.
        files (Mapping[str, str | None]): Paths by what the files are; None
            where there is none.

    Raises:
        InputError: A process has other files than the first one. It is raised
            in every process.
    """
    if get_world_size() == 1:
        return
    own = {f'`{name}.dataset`': _of_data(one) for name, one in data.items()}
    own.update((name, _of_file(path)) for name, path in files.items())
    first, *others = all_gather_object(own)
    for rank, other in enumerate(others, 1):
        for name, found in first.items():
            if other[name] != found:
                raise InputError(
                    f'the processes have different files: {name} is '
                    f'{other[name]} in process {rank}, but {found} in process '
                    '0; copy the same files to every node.')


def _of_data(dataset: BaseDataset) -> str:
    size, names = len(dataset), []
    if hasattr(dataset, 'get_data_info'):
        for i in range(0, size, 1 + size // _NUM_NAMES):
            path = str(dataset.get_data_info(i).get('img_path'))
            names.append('/'.join(path.replace(os.sep, '/').split('/')[-2:]))
    return f'{size} images (digest {_digest(repr(names).encode())})'


def _of_file(path: str | None) -> str:
    if path is None or not os.path.isfile(path):
        return 'missing'
    with open(path, 'rb') as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        return f'{size} bytes (digest {_digest(file.read())})'


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
