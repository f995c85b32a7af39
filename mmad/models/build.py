from torch import nn

from mmad.registry import MODELS


def build_part(part: dict | nn.Module) -> nn.Module:
    """A part of a model from its config, or as it is."""
    return part if isinstance(part, nn.Module) else MODELS.build(part)
