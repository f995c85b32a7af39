"""Plain values of metrics for files and tables, in order and in words."""
import math
import os
from collections.abc import Mapping
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

UNDEFINED = 'undefined'
INFINITE = ('infinity', '-infinity')
IMAGE_METRICS = ('image_auroc', 'image_ap', 'image_f1max')
PIXEL_METRICS = ('pixel_auroc', 'pixel_ap', 'pixel_f1max', 'aupro')
_NAMES = IMAGE_METRICS + PIXEL_METRICS


def is_known(name: str) -> bool:
    """Tell whether a metric, with or without a prefix, is one of mmad."""
    return name.rpartition('/')[2] in _NAMES


def in_order(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Make plain values of metrics, with those of mmad first.

    Args:
        values (Mapping): Metrics by name. A dict among them becomes one
            metric for each of its entries, named ``name/key``.

    Returns:
        dict[str, Any]: See :func:`plain_value`.
    """
    plain = _flat(plain_value(values))
    known = sorted(
        filter(is_known, plain),
        key=lambda name:
        (name.rpartition('/')[0], _NAMES.index(name.rpartition('/')[2])))
    return {name: plain[name] for name in dict.fromkeys([*known, *plain])}


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Put the entries of nested dicts into one dict."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = ({
            f'{name}/{key}': part
            for key, part in _flat(value).items()
        } if isinstance(value, dict) and value else {
            name: value
        })
        taken = flat.keys() | values.keys() - {name}
        # Rather nested than lost.
        flat.update({name: value} if inner.keys() & taken else inner)
    return flat


def plain_value(value: Any) -> Any:
    """Convert a value to what JSON can hold.

    Numbers of NumPy and PyTorch become those of Python, and arrays lists; an
    array of one element is a number. NaN is ``'undefined'``, infinity
    ``'infinity'``. Of anything else the name of the type remains.

    Args:
        value (Any): Any value.

    Returns:
        Any: A number, a string, None, or lists and dicts of them.
    """
    if isinstance(value, torch.Tensor | np.ndarray):
        is_number = math.prod(value.shape) == 1
        return plain_value(value.item() if is_number else value.tolist())
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real | Decimal):
        return _plain_float(float(value))
    if isinstance(value, Mapping):
        return {str(key): plain_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(part) for part in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return f'not written: {type(value).__name__}'


def _plain_float(number: float) -> float | str:
    if math.isnan(number):
        return UNDEFINED
    if math.isinf(number):
        return INFINITE[number < 0]
    return number


def is_cell(value: Any) -> bool:
    """Tell whether a plain value can stand in a table of numbers."""
    return (isinstance(value, int | float) or value in (UNDEFINED, *INFINITE))


def short_value(name: str, value: Any, percent: str = '') -> str:
    """Format a plain value in a few characters.

    Args:
        name (str): Name of the metric; those of mmad come in %.
        value (Any): A plain value.
        percent (str): What follows a number in %. Defaults to nothing.

    Returns:
        str: A dash for what is no number.
    """
    if isinstance(value, int | float):
        return (f'{100 * value:.1f}{percent}'
                if is_known(name) else f'{value:.4g}')
    return value if is_cell(value) else '-'


def describe_conditions(conditions: Mapping[str, Any]) -> str:
    """Describe in words how the pixel metrics were computed.

    Args:
        conditions (Mapping[str, Any]): ``conditions`` of ``metrics.json``.

    Returns:
        str: One line, empty without pixel metrics.
    """
    parts = []
    for name, resolution in conditions.items():
        prefix, slash, name = name.rpartition('/')
        prefix += slash
        limit = conditions.get(f'{prefix}fpr_limit')
        size = conditions.get(f'{prefix}map_size')
        # A metric of another origin may have conditions of the same name.
        if (name != 'resolution' or resolution not in ('input', 'original')
                or not isinstance(limit, int | float) or size is None):
            continue
        place = ('model input'
                 if resolution == 'input' else 'the original resolution')
        # Missing in results that a sweep of an earlier version left.
        images = (' of anomalous images only'
                  if conditions.get(f'{prefix}anomalous_only') else '')
        text = (f'{prefix}pixel metrics{images} at {place} {size}; '
                f'{prefix}AUPRO up to FPR {limit:g}')
        if conditions.get(f'{prefix}cropped_images'):
            text += '; pixels outside the crop left out'
        bits = conditions.get(f'{prefix}score_bits')
        if bits is not None:
            text += f'; scores kept to {bits} bits'
        for key, words in (('pixel_empty_masks', 'with an empty mask'),
                           ('pixel_defects_removed', 'without a defect left')):
            if conditions.get(prefix + key):
                text += (f'; {conditions[prefix + key]} defective images '
                         f'{words}')
        parts.append(text)
    return '; '.join(parts)
