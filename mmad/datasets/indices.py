from collections.abc import Sequence
from numbers import Integral
from typing import Any

from mmad.errors import InputError


def check_indices(value: int | Sequence[int] | None,
                  number: int | None = None) -> None:
    """Check the argument ``indices`` of a data set.

    Args:
        value (int | Sequence[int], optional): Number of images, or a list of
            indices.
        number (int, optional): Number of images in the data set. Defaults to
            None: not known yet.

    Raises:
        InputError: If it chooses no images, or an index is out of range.
    """
    if value is None:
        return
    values: Any = [value] if isinstance(value, Integral) else value
    is_list = isinstance(values, Sequence) and not isinstance(values, str)
    if not is_list or not all(
            isinstance(index, Integral) and not isinstance(index, bool)
            for index in values) or (values is not value and values[0] < 1):
        raise InputError(
            '`indices` must be a positive number of images, or a list of '
            f'indices, got {value!r}.')
    if not values:
        raise InputError('`indices` is empty; give at least one index, or '
                         'leave it out.')
    if values is value and number is not None:
        for index in values:  # type: ignore[union-attr]
            if not -number <= index < number:
                raise InputError(f'`indices` names {index}, but there are '
                                 f'{number} images; correct it.')
