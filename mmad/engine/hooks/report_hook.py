import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmad.evaluation.report import (
    describe_conditions,
    in_order,
    is_cell,
    plain_value,
)
from mmad.registry import HOOKS
from mmad.utils import printable, write_atomically

_SECTIONS = ('per_defect_type', 'conditions')


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes all metrics to ``metrics.json`` in the work directory and logs
    them as a table.

    The file has every metric that the evaluator returns, those of mmad first,
    whichever package the metric comes from. Then comes ``per_defect_type``
    with the metrics of each defect type together with all normal images, and
    ``conditions`` with how they were computed. It is replaced as a whole, so
    that a reader never finds half of it.

    A metric that is NaN is written as ``"undefined"`` and an infinite one as
    ``"infinity"``. Arrays become lists. A dict becomes one metric for each of
    its entries, named ``name/key``. Of what JSON cannot hold the name of its
    type is written. The table shows the numbers.

    Each metric may have the attributes ``per_defect_type`` and ``conditions``
    (dicts) and ``warnings`` (a list of sentences), as
    :class:`~mmad.evaluation.ImageMetric` and
    :class:`~mmad.evaluation.PixelMetric` do. Where two metrics have a
    condition of the same name and different values, that of the second is
    written as ``ClassName/name``. A warning is logged once in a run.

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
        per_type: dict[str, dict[str, Any]] = {}
        conditions: dict[str, Any] = {}
        for metric in _metrics(evaluator):
            prefix = getattr(metric, 'prefix', None)
            prefix = f'{prefix}/' if prefix else ''
            for name, values in _section(metric, 'per_defect_type').items():
                if isinstance(values, Mapping):
                    _add(
                        per_type.setdefault(str(name), {}), prefix, values,
                        metric)
            _add(conditions, prefix, _section(metric, 'conditions'), metric)
            self._warn(runner, getattr(metric, 'warnings', None))
        # Not to be mixed up with the sections of the file.
        overall = in_order({
            f'metrics/{name}' if name in _SECTIONS else name:
            value
            for name, value in metrics.items()
        })
        rows = {name: in_order(values) for name, values in per_type.items()}
        report = dict(overall, per_defect_type=rows, conditions=conditions)
        text = json.dumps(report, indent=2, allow_nan=False)
        write_atomically(
            Path(runner.work_dir) / 'metrics.json', (text + '\n').encode())
        # A defect type may be named "all", too.
        table = _table([('all', overall), *rows.items()])
        runner.logger.info(f'\n{table}{describe_conditions(conditions)}')

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
    for metric in _metrics(evaluator):
        if (getattr(metric, 'collect_device', None) == 'cpu'
                and getattr(metric, 'collect_dir', None) is None):
            metric.collect_device = 'gpu'


def _metrics(evaluator: Evaluator) -> list:
    """The metrics of an evaluator; one of another package may hide them."""
    return getattr(evaluator, 'metrics', [])


def _section(metric: Any, name: str) -> Mapping:
    """A dict that mmad's metrics have, and others may have."""
    section = getattr(metric, name, None)
    return section if isinstance(section, Mapping) else {}


def _add(section: dict[str, Any], prefix: str, values: Mapping,
         metric: Any) -> None:
    """Add plain values to a section without replacing what is there."""
    for key, value in values.items():
        name, value = f'{prefix}{key}', plain_value(value)
        if section.setdefault(name, value) != value:
            section[f'{type(metric).__name__}/{name}'] = value


def _table(rows: list[tuple[str, dict[str, Any]]]) -> str:
    names = dict.fromkeys(name for _, values in rows for name in values
                          if is_cell(values[name]))
    table = Table(box=None, pad_edge=False)
    table.add_column(Text('defect_type'))
    for name in names:
        table.add_column(Text(printable(name)), justify='right')
    for name, values in rows:
        table.add_row(
            Text(printable(name)),
            *(_cell(values.get(column)) for column in names))
    # As wide as the table is, whatever the terminal: it goes into a file.
    text = StringIO()
    console = Console(file=text, color_system=None, width=1_000_000)
    console.print(table, no_wrap=True)
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.4f}' if abs(value) < 1e4 else f'{value:.4g}'
    return str(value) if is_cell(value) else '-'
