"""Limit the size of the model that a stored config describes."""
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules import module as modules

from mmad.errors import InputError

# Twice the largest network of torchvision; 5.2 GB in float32.
_MAX_PARAMETERS = 1_300_000_000
# Added for each tensor, so that many small tensors reach the limit as well.
_COST_PER_TENSOR = 100_000


@contextmanager
def limit_model_size() -> Iterator[None]:
    """Refuse to build a model that would fill the memory.

    Parameters are counted when a module registers them. At that time they
    have not been initialized and do not occupy memory yet. The limit applies
    to the calling thread only.

    Raises:
        InputError: If the model has more than 1.3 billion parameters, or more
            than 13,000 parameter tensors.
    """
    count, thread = 0, threading.get_ident()

    def add(module: nn.Module, name: str,
            parameter: nn.Parameter | None) -> None:
        nonlocal count
        if threading.get_ident() != thread:
            return
        count += _COST_PER_TENSOR + (0 if parameter is None else
                                     parameter.numel())
        if count > _MAX_PARAMETERS:
            raise InputError(
                f'its model has more than {_MAX_PARAMETERS:,} parameters; '
                'give the config file with `config=` if that is intended.')

    handle = modules.register_module_parameter_registration_hook(add)
    try:
        yield
    finally:
        handle.remove()
