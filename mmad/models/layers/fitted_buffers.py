from collections.abc import Mapping

from torch import Tensor, nn


def resize_buffers(module: nn.Module, state_dict: Mapping[str, Tensor],
                   prefix: str) -> None:
    """Give a module's own buffers the shapes that a state dict brings.

    For modules whose buffers get their size from a fit; to be called first in
    ``_load_from_state_dict``, which then copies the values.

    Args:
        module (nn.Module): Its direct buffers are replaced where the shape
            differs.
        state_dict (Mapping[str, Tensor]): What is being loaded.
        prefix (str): Of the module's keys.
    """
    for name, buffer in list(module.named_buffers(recurse=False)):
        stored = state_dict.get(prefix + name)
        if stored is not None and stored.shape != buffer.shape:
            setattr(module, name, buffer.new_empty(stored.shape))
