"""Convert and format metrics for files and tables."""
import math
import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from io import StringIO
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmad.errors import printable

UNDEFINED = 'undefined'
INFINITE = ('infinity', '-infinity')
IMAGE_METRICS = ('image_auroc', 'image_ap', 'image_f1max')
PIXEL_METRICS = ('pixel_auroc', 'pixel_ap', 'pixel_f1max', 'aupro')
SATURATED_METRICS = ('auspro', 'auspro_mean')
TYPE_MEANS = ('image_auroc_mean', )
# Of the verdicts, where the model has a threshold.
VERDICT_METRICS = ('image_precision', 'image_recall', 'image_false_alarm_rate')
_NAMES = (
    IMAGE_METRICS + TYPE_MEANS + VERDICT_METRICS + PIXEL_METRICS +
    SATURATED_METRICS)


def is_known(name: str) -> bool:
    """Return whether a metric, with or without a prefix, is one of mmad."""
    return name.rpartition('/')[2] in _NAMES


def sort_metrics(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Convert metrics to plain values, and sort those of mmad first.

    Args:
        values (Mapping): Metrics by name. A metric that is a dict becomes one
            metric for each of its entries, named ``name/key``.

    Returns:
        dict[str, Any]: Plain values by name, see :func:`plain_value`.
    """
    plain = _flat(plain_value(values))
    known = sorted(
        filter(is_known, plain),
        key=lambda name:
        (name.rpartition('/')[0], _NAMES.index(name.rpartition('/')[2])))
    return {name: plain[name] for name in dict.fromkeys([*known, *plain])}


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Move the entries of nested dicts into one dict."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = ({
            f'{name}/{key}': part
            for key, part in _flat(value).items()
        } if isinstance(value, dict) and value else {
            name: value
        })
        taken = flat.keys() | values.keys() - {name}
        # Keep a dict nested if its entries would replace others.
        flat.update({name: value} if inner.keys() & taken else inner)
    return flat


def plain_value(value: Any) -> Any:
    """Convert a value to one that JSON can represent.

    Numbers of NumPy and PyTorch become Python numbers. Arrays become lists,
    and an array with one element becomes a number. NaN becomes
    ``'undefined'``, and infinity ``'infinity'``. Other objects are replaced by
    the name of their type.

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


def is_table_value(value: Any) -> bool:
    """Return whether a plain value can be shown in a table of numbers."""
    return (isinstance(value, int | float) or value in (UNDEFINED, *INFINITE))


def short_value(name: str, value: Any, percent: str = '') -> str:
    """Format a plain value in a few characters.

    Args:
        name (str): Name of the metric; those of mmad are shown in %.
        value (Any): A plain value.
        percent (str): Text after a number in %. Defaults to ``''``.

    Returns:
        str: The value, or a dash if it is not a number.
    """
    if isinstance(value, int | float):
        return (f'{100 * value:.1f}{percent}'
                if is_known(name) else f'{value:.4g}')
    return value if is_table_value(value) else '-'


def format_table(head: str, rows: Sequence[tuple[str, Mapping[str,
                                                              Any]]]) -> str:
    """Format plain values as a table with a column for each metric.

    Args:
        head (str): Heading of the names of the rows.
        rows (Sequence[tuple[str, Mapping]]): Name and metrics of each row.

    Returns:
        str: The lines of the table.
    """
    names = dict.fromkeys(name for _, values in rows for name in values
                          if is_table_value(values[name]))
    table = Table(box=None, pad_edge=False)
    table.add_column(Text(head))
    for name in names:
        table.add_column(Text(printable(name)), justify='right')
    for name, values in rows:
        table.add_row(
            Text(printable(name)),
            *(_cell(values.get(column)) for column in names))
    # The table also goes into the log file, so the width of the terminal does
    # not matter.
    text = StringIO()
    console = Console(file=text, color_system=None, width=1_000_000)
    console.print(table, no_wrap=True)
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.4f}' if abs(value) < 1e4 else f'{value:.4g}'
    return str(value) if is_table_value(value) else '-'


def describe_conditions(conditions: Mapping[str, Any]) -> str:
    """Describe in words how the metrics were computed.

    Args:
        conditions (Mapping[str, Any]): The section ``conditions`` of
            ``metrics.json``.

    Returns:
        str: One line; empty if there are neither verdicts nor pixel metrics
        nor several checkpoints.
    """
    parts = [
        _describe_verdicts(name.rpartition('image_threshold')[0], conditions)
        for name in conditions if name.rpartition('/')[2] == 'image_threshold'
    ]
    checkpoints = conditions.get('checkpoints')
    # A metric of another package may have a condition of the same name.
    if isinstance(checkpoints, Mapping) and len(checkpoints) > 1:
        names = list(checkpoints)
        parts.append(f'mean over {len(names)} checkpoints, from {names[0]} '
                     f'to {names[-1]}')
    for name, resolution in conditions.items():
        prefix, slash, name = name.rpartition('/')
        prefix += slash
        is_saturated = name == 'spro_resolution'
        start = f'{prefix}spro_' if is_saturated else prefix
        limit = conditions.get(f'{start}fpr_limit')
        size = conditions.get(f'{start}map_size')
        # A metric of another package may have conditions of the same name.
        if (name not in ('resolution', 'spro_resolution')
                or resolution not in ('input', 'original')
                or not isinstance(limit, int | float) or size is None):
            continue
        place = ('model input'
                 if resolution == 'input' else 'the original resolution')
        # Missing in the results of a sweep with an earlier version.
        images = (' of anomalous images only'
                  if conditions.get(f'{prefix}anomalous_only') else '')
        what, area = ((f'{prefix}AUsPRO', '') if is_saturated else
                      (f'{prefix}pixel metrics{images}', f'; {prefix}AUPRO'))
        text = f'{what} at {place} {size}{area} up to FPR {limit:g}'
        if conditions.get(f'{start}cropped_images'):
            text += '; pixels outside the crop left out'
        bits = conditions.get(f'{start}score_bits')
        if bits is not None:
            text += f'; scores kept to {bits} bits'
        counted = start if is_saturated else f'{prefix}pixel_'
        for key, words in (('empty_masks', 'with an empty mask'),
                           ('defects_removed', 'without a defect left')):
            if conditions.get(counted + key):
                text += (f'; {conditions[counted + key]} defective images '
                         f'{words}')
        parts.append(text)
    return '; '.join(parts)


def _describe_verdicts(prefix: str, conditions: Mapping[str, Any]) -> str:
    threshold = conditions[f'{prefix}image_threshold']
    rate = conditions.get(f'{prefix}wanted_false_alarm_rate')
    if not isinstance(threshold, int | float):
        return f'{prefix}threshold {threshold}'
    text = f'{prefix}threshold {threshold:.4g}'
    if isinstance(rate, int | float):
        text += f' for a false-alarm rate of {100 * rate:.2g} %'
    return text
