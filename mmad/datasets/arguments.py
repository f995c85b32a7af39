"""Checks of the arguments of the data sets."""
from collections.abc import Sequence
from numbers import Integral, Real

from mmad.errors import InputError


def check_share(name: str, value: float, low: bool = False) -> None:
    """Refuse what is no share of a whole.

    Args:
        name (str): Of the argument.
        value (float): It.
        low (bool): 0 is one too. Defaults to False.
    """
    if (isinstance(value, bool) or not isinstance(value, Real)
            or not (0 < value < 1 or (low and value == 0))):
        raise InputError(f'`{name}` must lie in {"[" if low else "("}0, 1), '
                         f'got {value!r}.')


def check_seed(value: int) -> None:
    """Refuse what is no seed."""
    if (isinstance(value, bool) or not isinstance(value, Integral)
            or value < 0):
        raise InputError('`seed` must be an integer from 0, got '
                         f'{value!r}.')


def check_indices(value: int | Sequence[int] | None,
                  number: int | None = None) -> None:
    """Refuse what chooses no images.

    Args:
        value (int | Sequence[int], optional): Number of images, or their
            indices.
        number (int, optional): Images that there are. Defaults to None: not
            known.
    """
    if value is None:
        return
    values = [value] if isinstance(value, Integral) else value
    is_list = isinstance(values, Sequence) and not isinstance(values, str)
    if not is_list or not all(
            isinstance(index, Integral) and not isinstance(index, bool)
            for index in values) or (values is not value and value < 1):
        raise InputError(
            '`indices` must be a positive number of images, or a list of '
            f'indices, got {value!r}.')
    if not values:
        raise InputError('`indices` is empty; name an index at least, or '
                         'leave it out.')
    if values is value and number is not None:
        for index in values:
            if not -number <= index < number:
                raise InputError(f'`indices` names {index}, but there are '
                                 f'{number} images.')
