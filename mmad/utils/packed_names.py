"""Keep many names in one tensor, which processes and checkpoints share."""
import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# No path is longer on Linux.
_LONGEST_PREFIX = 4096


def pack_names(names: Sequence[str]) -> Tensor:
    """Pack names into one tensor, what all begin with only once.

    Args:
        names (Sequence[str]): Names without NUL, such as paths.

    Returns:
        Tensor: ``(N,)`` uint8.
    """
    # Of any names, which need not be paths.
    prefix = os.path.commonprefix(names)[:_LONGEST_PREFIX]  # noqa: RUF071
    rest = (name[len(prefix):] for name in names)
    text = '\0'.join([prefix, *rest]).encode('utf-8', 'surrogateescape')
    return torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy())


def unpack_names(packed: Tensor) -> list[str]:
    """Return the names that :func:`pack_names` has packed.

    Args:
        packed (Tensor): ``(N,)`` uint8; it may come from an untrusted file.

    Returns:
        list[str]: The names; none if the tensor cannot be the packed names.
    """
    if packed.dtype != torch.uint8 or packed.dim() != 1:
        return []
    text = packed.cpu().numpy().tobytes().decode('utf-8', 'surrogateescape')
    prefix, *rest = text.split('\0')
    # A long one before many names would fill the memory.
    if len(prefix) > _LONGEST_PREFIX:
        return []
    return [prefix + name for name in rest]
