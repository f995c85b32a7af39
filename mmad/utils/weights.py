"""The files of weights that a model config names."""
from collections.abc import MutableMapping
from pathlib import Path

from mmengine.config import Config

from mmad.errors import InputError

from .config_parts import type_name


def set_weights(model: Config, weights: str) -> None:
    """Set the file with the weights of the backbone.

    Args:
        model (Config): ``model`` of a config.
        weights (str): Path.

    Raises:
        InputError: The model has no backbone.
    """
    if model.get('backbone') is None:
        hint = ('name the teachers with --cfg-options '
                'model.scales.0.teacher=FILE and so on'
                if 'scales' in model else 'leave it out')
        raise InputError(
            f'--weights is for a backbone, which the {type_name(model.type)} '
            f'of this config has none of; {hint}.')
    model.backbone.weights = weights


def forget_weights(model: Config) -> None:
    """Remove all files of weights, which a checkpoint makes unnecessary.

    That holds for every part with ``weights``, ``pretrained``, ``init_cfg`` or
    a ``teacher``, at any depth.
    """
    _forget(model)


def _forget(node: object) -> None:
    if isinstance(node, list | tuple):
        for value in node:
            _forget(value)
    elif isinstance(node, MutableMapping | Config):
        if 'teacher' in node:
            node['teacher'] = None
        # An argument of this name may be numbers, such as those of a loss.
        for key in ('weights', 'pretrained'):
            if isinstance(node.get(key), str | Path):
                node[key] = None
        if node.get('pretrained') is True:
            node['pretrained'] = False
        if node.get('init_cfg') is not None:
            node['init_cfg'] = None
        for value in node.values():
            _forget(value)
