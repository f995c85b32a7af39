"""Set or remove the weights that a model config names."""
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from mmengine.config import Config

from mmad.errors import InputError

from .config_parts import type_name


def find_backbones(model: Mapping) -> dict[str, MutableMapping]:
    """Find the configs of the backbones of a model and of its members.

    Args:
        model (Mapping): The entry ``model`` of a config.

    Returns:
        dict[str, MutableMapping]: By their places, such as
        ``'model.backbone'``.
    """
    parts = {'model': model}
    members = model.get('members')
    if isinstance(members, list | tuple):
        parts.update((f'model.members.{number}', member)
                     for number, member in enumerate(members))
    return {
        f'{place}.backbone': part['backbone']
        for place, part in parts.items() if isinstance(part, Mapping)
        and isinstance(part.get('backbone'), MutableMapping)
    }


def set_weights(model: Config, weights: str) -> None:
    """Set the file with the weights of the backbone.

    Args:
        model (Config): The entry ``model`` of a config.
        weights (str): Path of the file.

    Raises:
        InputError: If the model has no backbone, or several.
    """
    if 'members' in model:
        raise InputError(
            '--weights names one file, but the members of the '
            f'{type_name(model.type)} have a backbone each; name them with '
            '--cfg-options model.members.0.backbone.weights=FILE and so on.')
    if model.get('backbone') is None:
        hint = ('name the teachers with --cfg-options '
                'model.scales.0.teacher=FILE and so on'
                if 'scales' in model else 'leave it out')
        raise InputError(
            '--weights is for a backbone, but the '
            f'{type_name(model.type)} of this config has none; {hint}.')
    model.backbone.weights = weights


def remove_weights(model: Config) -> None:
    """Remove all weights from a config, since they are in a checkpoint.

    The entries ``weights``, ``pretrained``, ``init_cfg`` and ``teacher`` are
    set to None, at any depth.
    """
    _remove_inside(model)


def _remove_inside(node: object) -> None:
    if isinstance(node, list | tuple):
        for value in node:
            _remove_inside(value)
    elif isinstance(node, MutableMapping | Config):
        if 'teacher' in node:
            node['teacher'] = None
        # `weights` may also be numbers, such as those of a loss.
        for key in ('weights', 'pretrained'):
            if isinstance(node.get(key), str | Path):
                node[key] = None
        if node.get('pretrained') is True:
            node['pretrained'] = False
        if node.get('init_cfg') is not None:
            node['init_cfg'] = None
        for value in node.values():
            _remove_inside(value)
