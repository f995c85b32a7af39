"""A limit to the size of a model that a stored config describes."""
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules import module as modules

from mmad.errors import InputError

# Twice the largest network of torchvision: 5.2 GB.
_MAX_NUMBERS = 1_300_000_000
# What a parameter counts for itself, so that many small ones end as well.
_EACH = 100_000


@contextmanager
def limit_building() -> Iterator[None]:
    """Refuse to build a model that would fill the memory, or never end.

    They are counted when a module takes them, before they are written to and
    so before they occupy memory. It holds for the calling thread only.

    Raises:
        InputError: There are more than 1.3 billion numbers, or 13,000
            parameters.
    """
    count, thread = 0, threading.get_ident()

    def add(module: nn.Module, name: str,
            parameter: nn.Parameter | None) -> None:
        nonlocal count
        if threading.get_ident() != thread:
            return
        count += _EACH + (0 if parameter is None else parameter.numel())
        if count > _MAX_NUMBERS:
            raise InputError(
                f'its model has more than {_MAX_NUMBERS:,} parameters; give '
                'the config file with `config=` if that is meant.')

    handle = modules.register_module_parameter_registration_hook(add)
    try:
        yield
    finally:
        handle.remove()
