from collections.abc import Mapping

from torch import Tensor, nn, strided

from mmad.errors import InputError


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

    Raises:
        InputError: What is to be loaded is of another kind than the buffer,
            or claims a size that it does not have.
    """
    for name, buffer in list(module.named_buffers(recurse=False)):
        stored = state_dict.get(prefix + name)
        if stored is None:
            continue
        if not _is_alike(stored, buffer):
            raise InputError(
                f'the tensor "{prefix}{name}" of the checkpoint is not one of '
                f'type {buffer.dtype} as a fit writes it, or not of its '
                'dimensions; it is damaged or of another model: fit again.')
        if stored.shape != buffer.shape:
            setattr(module, name, buffer.new_empty(stored.shape))


def _is_alike(stored: object, buffer: Tensor) -> bool:
    return (isinstance(stored, Tensor) and not stored.is_nested
            and stored.layout == strided and not stored.is_meta
            and not stored.is_quantized
            # An empty vector may stand for anything that is to come.
            and (stored.ndim == buffer.ndim or buffer.shape == (0,))
            and stored.is_complex() == buffer.is_complex()
            and stored.is_floating_point() == buffer.is_floating_point()
            # Expanded, a number would fill the memory.
            and stored.nbytes <= stored.untyped_storage().nbytes())
