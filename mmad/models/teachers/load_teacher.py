from pathlib import Path
from typing import Any

import torch

from mmad.errors import InputError
from mmad.models.backbones.patch_network import PatchNetwork
from mmad.models.fit_state import read_fingerprint
from mmad.utils import load_checkpoint
from mmad.utils.remote_files import find_checkpoint


def load_teacher(network: PatchNetwork,
                 source: str,
                 normalization: dict | None,
                 scale: int = 0) -> None:
    """Load the weights of a trained teacher into a network.

    Args:
        network (PatchNetwork): Network whose weights are replaced.
        source (str): Path or URL of a checkpoint of
            :class:`~mmad.models.PatchTeacher`, as
            :func:`~mmad.utils.load_checkpoint` takes it; or a name without a
            slash and a suffix, for ``NAME.pth`` in the folder ``checkpoints``
            of :func:`torch.hub.get_dir`.
        normalization (dict, optional): Normalization of the images that the
            network will see.
        scale (int): Index of the network in `scales`, for the message.
            Defaults to 0.

    Raises:
        InputError: There is no such checkpoint, it is that of another model,
            or the teacher was trained with other settings.
    """
    path = find_teacher(source)
    if not path.is_file():
        # The folder of a run has the name of its config.
        config = path.parent.name
        if not config.startswith('teacher_'):
            config = f'teacher_p{network.patch_size}'
        raise InputError(
            f'there is no teacher "{path}" for p = {network.patch_size}; '
            f'train one with tools/train.py configs/uninformed_students/'
            f'{config}.py --data-root FOLDER_OF_NATURAL_IMAGES, or name '
            'the checkpoint of another with --cfg-options '
            f'model.scales.{scale}.teacher=FILE.')
    state: Any = load_checkpoint(path, map_location='cpu').get('state_dict')
    stored = read_fingerprint(state)
    expected = dict(
        model='PatchTeacher',
        normalization=normalization,
        **network.settings())
    differing = [
        f'{key} {stored.get(key)!r} instead of {value!r}'
        for key, value in expected.items() if stored.get(key) != value
    ]
    if differing:
        raise InputError(
            f'the teacher "{path}" does not fit the config: it has '
            f'{"; ".join(differing)}. Take another teacher, or adapt '
            '`model`.')
    try:
        batches_left = sum(state['fit_state.batches_left'].tolist())
        network.load_state_dict({
            name.removeprefix('network.'): value
            for name, value in state.items() if name.startswith('network.')
        })
    except (AttributeError, KeyError, RuntimeError, TypeError,
            ValueError) as error:
        raise InputError(
            f'the teacher "{path}" is damaged, its tensors do not have the '
            'expected names and shapes; train it again.') from error
    if batches_left > 0:
        raise InputError(
            f'the teacher "{path}" is not trained: it was saved before it had '
            'seen all images of its first epoch; go on with tools/train.py '
            '--resume.')


def find_teacher(source: str) -> Path:
    """Return the path of the file that a path, a URL or a name refers to."""
    path = find_checkpoint(str(source))
    if path.suffix or len(path.parts) > 1:
        return path
    return Path(torch.hub.get_dir(), 'checkpoints', f'{source}.pth')
