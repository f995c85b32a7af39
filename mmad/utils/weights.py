"""Where a model config names files of weights."""
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config

from mmad.errors import InputError


def set_weights(model: Config, weights: str) -> None:
    """Name the file with the weights of the backbone.

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
            f'--weights is for a backbone, which the {model.type} of this '
            f'config has none of; {hint}.')
    model.backbone.weights = weights


def forget_weights(model: Config) -> None:
    """Name no files of weights: all is to come from a checkpoint.

    That holds for every part with ``weights`` or a ``teacher``, at any depth.
    """
    _forget(model)


def _forget(node: object) -> None:
    if isinstance(node, list | tuple):
        for value in node:
            _forget(value)
    elif isinstance(node, Mapping | Config):
        if 'teacher' in node:
            node['teacher'] = None
        # An argument of this name may be numbers, such as those of a loss.
        if isinstance(node.get('weights'), str | Path):
            node['weights'] = None
        for value in node.values():
            _forget(value)
