import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.evaluation.report import (
    describe_conditions,
    in_order,
    is_cell,
    plain_value,
)
from mmad.registry import HOOKS
from mmad.utils import printable, write_atomically

_SECTIONS = ('per_kind', 'conditions')


@HOOKS.register_module()
class ReportHook(Hook):
    """Write the metrics to ``metrics.json`` in the work directory and log
    them as a table.

    The file has the metrics of all images, those of other packages included,
    then ``per_kind`` with those of each defect type together with all normal
    images, then ``conditions`` with how they were computed. It is replaced as
    a whole, so a reader never finds half of it. A metric that is NaN is the
    string ``"undefined"``, an infinite one ``"infinity"``, and what is no
    JSON is named by its type. The table has what is a number.

    Of each metric it reads the attributes ``per_kind``, ``conditions`` and
    ``warnings``, as far as there are any, see
    :class:`~mmad.evaluation.ImageMetric` and
    :class:`~mmad.evaluation.PixelMetric`. A warning is logged once.

    With several processes a metric of ``collect_device='cpu'`` without a
    ``collect_dir`` would exchange its results through files in the current
    folder, which nodes may not share. It is made to use the process group.
    """

    # After LoggerHook, so that the table is the last word on the epoch.
    priority = 'LOW'

    def __init__(self) -> None:
        self._told: list[str] = []

    def before_val_epoch(self, runner: Runner) -> None:
        """Keep the exchange of results out of the current folder."""
        _gather_by_group(runner.val_loop.evaluator)

    def before_test_epoch(self, runner: Runner) -> None:
        """Keep the exchange of results out of the current folder."""
        _gather_by_group(runner.test_loop.evaluator)

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

    def _report(self, runner: Runner, metrics: dict[str, Any] | None,
                evaluator: Evaluator) -> None:
        if not is_main_process() or not metrics:
            return
        per_kind: dict[str, dict[str, Any]] = {}
        conditions: dict[str, Any] = {}
        for metric in evaluator.metrics:
            prefix = getattr(metric, 'prefix', None)
            prefix = f'{prefix}/' if prefix else ''
            for kind, values in _section(metric, 'per_kind').items():
                if isinstance(values, Mapping):
                    per_kind.setdefault(str(kind), {}).update(
                        {f'{prefix}{name}': values[name] for name in values})
            for name, value in _section(metric, 'conditions').items():
                conditions[f'{prefix}{name}'] = plain_value(value)
            self._warn(runner, getattr(metric, 'warnings', None))
        # Not to be mixed up with the sections of the file.
        overall = in_order({
            f'metrics/{name}' if name in _SECTIONS else name: value
            for name, value in metrics.items()
        })
        kinds = {kind: in_order(per_kind[kind]) for kind in per_kind}
        report = dict(overall, per_kind=kinds, conditions=conditions)
        text = json.dumps(report, indent=2, allow_nan=False)
        write_atomically(
            Path(runner.work_dir) / 'metrics.json', (text + '\n').encode())
        # A defect type may be named "all", too.
        rows = [('all', overall), *kinds.items()]
        runner.logger.info(
            '\n' + _table(rows) + describe_conditions(conditions))

    def _warn(self, runner: Runner, sentences: Any) -> None:
        """Log each sentence once in a run, whichever metrics have it."""
        if not isinstance(sentences, list):
            return
        for sentence in sentences:
            if sentence not in self._told:
                runner.logger.warning(printable(str(sentence)))
                self._told.append(sentence)


def _gather_by_group(evaluator: Evaluator) -> None:
    """Let no metric gather through files in the current folder."""
    if get_world_size() == 1:
        return
    for metric in evaluator.metrics:
        if (getattr(metric, 'collect_device', None) == 'cpu'
                and getattr(metric, 'collect_dir', None) is None):
            metric.collect_device = 'gpu'


def _section(metric: Any, name: str) -> Mapping:
    """A dict that mmad's metrics have, and others may have."""
    section = getattr(metric, name, None)
    return section if isinstance(section, Mapping) else {}


def _table(rows: list[tuple[str, dict[str, Any]]]) -> str:
    names = dict.fromkeys(
        name for _, values in rows for name in values
        if is_cell(values[name]))
    cells = [['kind', *names]]
    for kind, values in rows:
        row = [_cell(values.get(name)) for name in names]
        cells.append([printable(kind), *row])
    widths = [max(map(len, column)) for column in zip(*cells)]
    return ''.join(
        '  '.join([row[0].ljust(widths[0])] +
                  [c.rjust(w) for c, w in zip(row[1:], widths[1:])]) + '\n'
        for row in cells)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.4f}' if abs(value) < 1e4 else f'{value:.4g}'
    return str(value) if is_cell(value) else '-'
