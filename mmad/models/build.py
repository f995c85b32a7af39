from typing import Any

from torch import nn

from mmad.errors import InputError
from mmad.registry import MODELS


def build_part(part: dict | nn.Module) -> Any:
    """A part of a model from its config, or as it is.

    Raises:
        InputError: It is neither.
    """
    if isinstance(part, nn.Module):
        return part
    if not isinstance(part, dict) or 'type' not in part:
        raise InputError('a part of a model must be a dict with its `type`, '
                         f'got {part!r}.')
    return MODELS.build(part)
