"""Check the arguments that classes get from a config."""
import math
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from mmad.errors import InputError


def check_number(name: str,
                 value: Any,
                 low: float | None = None,
                 high: float | None = None,
                 above: float | None = None,
                 below: float | None = None,
                 integer: bool = False,
                 optional: bool = False,
                 hint: str = '') -> None:
    """Check that a value is a finite number in its range, and not a bool.

    Args:
        name (str): Name of the argument.
        value: Value of the argument.
        low (float, optional): Smallest value. Defaults to None: any.
        high (float, optional): Largest value. Defaults to None: any.
        above (float, optional): The value must exceed it. Defaults to None.
        below (float, optional): The value must stay below it. Defaults to
            None.
        integer (bool): Only whole numbers. Defaults to False.
        optional (bool): None is allowed. Defaults to False.
        hint (str): What else is allowed, for the message. Defaults to ``''``.

    Raises:
        InputError: If the value is not allowed.
    """
    if value is None and optional:
        return
    kind: Any = Integral if integer else Real
    if (isinstance(value, kind) and not isinstance(value, bool)
            and math.isfinite(value) and (low is None or value >= low)
            and (high is None or value <= high)
            and (above is None or value > above)
            and (below is None or value < below)):
        return
    limits = ' and '.join(f'{word} {limit}'
                          for word, limit in (('above', above), ('at least',
                                                                 low),
                                              ('at most', high), ('below',
                                                                  below))
                          if limit is not None)
    words = [
        f'a {"whole" if integer else "finite"} number', limits,
        'or None' if optional else '', hint
    ]
    raise InputError(f'`{name}` must be {", ".join(filter(None, words))}, got '
                     f'{value!r}.')


def check_numbers(name: str, values: Any, **limits: Any) -> None:
    """Check that a value is a list of numbers, with :func:`check_number`.

    Raises:
        InputError: If it is not a list, or a number in it is not allowed.
    """
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(f'`{name}` must be a list of numbers, got '
                         f'{values!r}.')
    for i, value in enumerate(values):
        check_number(f'{name}[{i}]', value, **limits)


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Check that a value is one of several names.

    Raises:
        InputError: If it is not one of them.
    """
    if not isinstance(value, str) or value not in choices:
        *others, last = (f'"{choice}"' for choice in choices)
        shown = f'"{value}"' if isinstance(value, str) else repr(value)
        raise InputError(f'`{name}` must be {", ".join(others)} or {last}, '
                         f'got {shown}.')


def check_flag(name: str, value: Any) -> None:
    """Check that a value is True or False.

    Raises:
        InputError: If it is neither.
    """
    if not isinstance(value, bool):
        raise InputError(f'`{name}` must be True or False, got {value!r}.')


def check_folder(name: str, value: Any, optional: bool = False) -> None:
    """Check that a value can name a folder, which need not be there.

    Args:
        name (str): Name of the argument.
        value: Value of the argument.
        optional (bool): None is allowed. Defaults to False.

    Raises:
        InputError: If it is neither a string nor a path.
    """
    if isinstance(value, str | Path) or (value is None and optional):
        return
    raise InputError(f'`{name}` must be the path of a folder'
                     f'{" or None" if optional else ""}, got {value!r}.')


def as_size(name: str, value: Any) -> tuple[int, int]:
    """Convert an argument to a width and height in pixels.

    A single number stands for both.

    Raises:
        InputError: If it is neither one nor two positive integers.
    """
    sides = [value, value] if isinstance(value, Integral) else value
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(
            isinstance(side, Integral) and not isinstance(side, bool)
            and side > 0  # type: ignore[operator]
            for side in sides):
        raise InputError(f'`{name}` must be one or two positive whole '
                         f'numbers, got {value!r}.')
    return tuple(sides)


def as_arguments(name: str, value: Any) -> dict:
    """Convert an argument to a dict of arguments; None becomes an empty one.

    Raises:
        InputError: If it is neither a dict nor None.
    """
    if not isinstance(value, Mapping | None):
        raise InputError(f'`{name}` must be a dict of arguments or None, got '
                         f'{value!r}.')
    return dict(value or {})
