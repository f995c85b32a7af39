import json
import math
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.registry import HOOKS
from mmad.utils import write_atomically

_NAMES = ('image_auroc', 'image_ap', 'image_f1max', 'pixel_auroc', 'pixel_ap',
          'pixel_f1max', 'aupro')
UNDEFINED = 'undefined'


@HOOKS.register_module()
class ReportHook(Hook):
    """Write the metrics to ``metrics.json`` in the work directory and log
    them as a table.

    The file has the metrics of all images, then ``per_kind`` with those of
    each kind of defect together with all normal images, then ``conditions``
    with how they were computed. It is replaced as a whole, so a reader never
    finds half of it. A metric that is undefined, for want of masks, of normal
    or of defective images, is the string ``"undefined"``.

    It reads the attributes ``per_kind`` and ``conditions`` of
    :class:`~mmad.evaluation.ImageMetric` and
    :class:`~mmad.evaluation.PixelMetric`.
    """

    # After LoggerHook, so that the table is the last word on the epoch.
    priority = 'LOW'

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: dict[str, float] | None = None) -> None:
        """Report the metrics of a validation.

        Args:
            runner (Runner): The runner.
            metrics (dict[str, float], optional): Metrics of all images.
        """
        self._report(runner, metrics, runner.val_loop.evaluator)

    def after_test_epoch(self,
                         runner: Runner,
                         metrics: dict[str, float] | None = None) -> None:
        """Report the metrics of a test.

        Args:
            runner (Runner): The runner.
            metrics (dict[str, float], optional): Metrics of all images.
        """
        self._report(runner, metrics, runner.test_loop.evaluator)

    def _report(self, runner: Runner, metrics: dict[str, float] | None,
                evaluator: Evaluator) -> None:
        if not is_main_process():
            return
        rows = {'all': _in_order(metrics or {})}
        if not rows['all']:
            return
        per_kind: dict[str, dict[str, float]] = {}
        conditions: dict[str, Any] = {}
        for metric in evaluator.metrics:
            prefix = f'{metric.prefix}/' if metric.prefix else ''
            for kind, values in getattr(metric, 'per_kind', {}).items():
                per_kind.setdefault(kind, {}).update(
                    {prefix + name: values[name] for name in values})
            for name, value in getattr(metric, 'conditions', {}).items():
                conditions[prefix + name] = value
        per_kind = {kind: _in_order(per_kind[kind]) for kind in per_kind}
        report = dict(rows['all'], per_kind=per_kind, conditions=conditions)
        text = json.dumps(_jsonable(report), indent=2, allow_nan=False)
        write_atomically(
            Path(runner.work_dir) / 'metrics.json', (text + '\n').encode())
        rows.update(per_kind)
        runner.logger.info(
            '\n' + _table(rows) + describe_conditions(conditions))


def _in_order(values: dict[str, float]) -> dict[str, float]:
    known = [name for name in values if name.split('/')[-1] in _NAMES]
    known.sort(key=lambda name: (name.rpartition('/')[0],
                                 _NAMES.index(name.split('/')[-1])))
    return {name: values[name] for name in known}


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(value[key]) for key in value}
    if isinstance(value, float) and math.isnan(value):
        return UNDEFINED
    return value


def _table(rows: dict[str, dict[str, float]]) -> str:
    names = list(rows['all'])
    cells: list[list[str]] = [['kind', *names]]
    for kind, values in rows.items():
        numbers = (values.get(name, math.nan) for name in names)
        cells.append([kind] + [
            UNDEFINED if math.isnan(number) else f'{number:.4f}'
            for number in numbers
        ])
    widths = [max(map(len, column)) for column in zip(*cells)]
    return ''.join(
        '  '.join([row[0].ljust(widths[0])] +
                  [c.rjust(w) for c, w in zip(row[1:], widths[1:])]) + '\n'
        for row in cells)


def describe_conditions(conditions: dict[str, Any]) -> str:
    """How the pixel metrics were computed, in words.

    Args:
        conditions (dict[str, Any]): ``conditions`` of ``metrics.json``.

    Returns:
        str: One line, empty without pixel metrics.
    """
    parts = []
    for name, resolution in conditions.items():
        prefix, slash, name = name.rpartition('/')
        if name != 'resolution':
            continue
        prefix += slash
        place = ('model input'
                 if resolution == 'input' else 'the original resolution')
        # Missing in results that a sweep of an earlier version left.
        images = (' of anomalous images only'
                  if conditions.get(f'{prefix}anomalous_only') else '')
        text = (f'{prefix}pixel metrics{images} at {place} '
                f'{conditions[f"{prefix}map_size"]}; {prefix}AUPRO up to FPR '
                f'{conditions[f"{prefix}fpr_limit"]:g}')
        if conditions[f'{prefix}cropped_images']:
            text += '; pixels outside the crop left out'
        bits = conditions[f'{prefix}score_bits']
        if bits is not None:
            text += f'; scores kept to {bits} bits'
        parts.append(text)
    return '; '.join(parts)
