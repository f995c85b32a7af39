import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner, TestLoop, ValLoop

from mmad.evaluation.report import (
    UNDEFINED,
    describe_conditions,
    format_table,
    is_table_value,
    plain_value,
    sort_metrics,
)
from mmad.registry import HOOKS
from mmad.structures import AnomalyDataSample
from mmad.utils import check_number, printable, write_atomically

from .prediction_recorder import PredictionRecorder, complete_predictions

_SECTIONS = ('per_defect_type', 'conditions')
_FALSE_ALARMS = 'image_false_alarm_rate'


@HOOKS.register_module()
class ReportHook(Hook):
    """Write all metrics to ``metrics.json`` and log them as a table.

    The file is in the work directory. It contains every metric that the
    evaluator returns, whichever package it comes from, with those of mmad
    first. They are followed by ``per_defect_type``, the metrics of each
    defect type together with all normal images, and by ``conditions``, which
    say how the metrics were computed. The file is replaced as a whole, so it
    is never incomplete.

    NaN is written as ``"undefined"`` and infinity as ``"infinity"``. Arrays
    become lists. A dict becomes one metric for each of its entries, named
    ``name/key``. For a value that JSON cannot represent, the name of its type
    is written. The table shows only the numbers. Without defective images,
    one line names the undefined metrics, and another one says how many of the
    normal images are above the threshold.

    Each metric may have the attributes ``per_defect_type`` and ``conditions``
    (dicts) and ``warnings`` (a list of sentences), as
    :class:`~mmad.evaluation.ImageMetric` and
    :class:`~mmad.evaluation.PixelMetric` do. If two metrics have different
    values for a condition of the same name, the second value is written as
    ``ClassName/name``. Each warning is logged only once per run.

    What the page of ``tools/report.py`` needs beside the metrics is written
    to ``predictions.npz``, see
    :class:`~mmad.evaluation.predictions.Predictions`: the score of each
    image, small anomaly maps of some, and points of the pixel curves.

    With several processes, a metric with ``collect_device='cpu'`` and without
    ``collect_dir`` would exchange its results through files in the current
    folder, which the nodes may not share. The hook makes such a metric use
    the process group instead.

    Args:
        max_examples (int): Number of images whose anomaly maps are kept in
            ``predictions.npz``, about 4 KB each. Of larger sets those are
            chosen that are most worth looking at. Defaults to 500.

    Raises:
        InputError: ``max_examples`` is negative.
    """

    # After LoggerHook, so that the table comes last.
    priority = 'LOW'

    def __init__(self, max_examples: int = 500) -> None:
        check_number('max_examples', max_examples, low=0, integer=True)
        self.max_examples = max_examples
        self._logged_warnings: list[str] = []
        self._recorder: PredictionRecorder | None = None

    def before_val_epoch(self, runner: Runner) -> None:
        """Keep the exchange of results out of the current folder."""
        self._begin(runner.val_loop)

    def before_test_epoch(self, runner: Runner) -> None:
        """Keep the exchange of results out of the current folder."""
        self._begin(runner.test_loop)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[AnomalyDataSample] = ()) -> None:
        """Record the predictions of a batch."""
        if self._recorder is not None:
            self._recorder.add(outputs)

    after_test_iter = after_val_iter

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: dict[str, float] | None = None) -> None:
        """Report the metrics of a validation.

        Args:
            runner (Runner): The runner.
            metrics (dict[str, float], optional): Metrics of all images.
        """
        self._report(runner, metrics, runner.val_loop, 'val')

    def after_test_epoch(self,
                         runner: Runner,
                         metrics: dict[str, float] | None = None) -> None:
        """Report the metrics of a test.

        Args:
            runner (Runner): The runner.
            metrics (dict[str, float], optional): Metrics of all images.
        """
        self._report(runner, metrics, runner.test_loop, 'test')

    def _begin(self, loop: ValLoop | TestLoop) -> None:
        _gather_through_process_group(loop.evaluator)
        self._recorder = PredictionRecorder(
            len(loop.dataloader.dataset), self.max_examples)

    def _report(self, runner: Runner, metrics: dict[str, Any] | None,
                loop: ValLoop | TestLoop, split: str) -> None:
        predictions = None
        if self._recorder is not None:
            predictions = self._recorder.gather()
            self._recorder = None
        if not is_main_process() or not metrics:
            return
        evaluator = loop.evaluator
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
        # A metric must not have the name of a section of the file.
        overall = sort_metrics({
            f'metrics/{name}' if name in _SECTIONS else name:
            value
            for name, value in metrics.items()
        })
        rows = {
            name: sort_metrics(values)
            for name, values in per_type.items()
        }
        report = dict(overall, per_defect_type=rows, conditions=conditions)
        write_metrics(runner.work_dir, report)
        if predictions is not None:
            complete_predictions(predictions, runner, loop, split)
            predictions.save(Path(runner.work_dir) / 'predictions.npz')
        if conditions.get('defective_images') == 0:
            undefined = [n for n in overall if overall[n] == UNDEFINED]
            overall = {n: overall[n] for n in overall if n not in undefined}
            runner.logger.info(
                'There are no defective images, so these are undefined: '
                f'{printable(", ".join(undefined))}')
            false_alarms = _describe_false_alarms(overall, conditions)
            if false_alarms:
                runner.logger.info(false_alarms)
            if not any(n != _FALSE_ALARMS and is_table_value(overall[n])
                       for n in overall):
                return
        # A defect type may be named "all", too.
        table = format_table('defect_type', [('all', overall), *rows.items()])
        runner.logger.info(f'\n{table}{describe_conditions(conditions)}')

    def _warn(self, runner: Runner, sentences: Any) -> None:
        """Log each warning once per run, even if several metrics have it."""
        if not isinstance(sentences, list):
            return
        for sentence in sentences:
            if sentence not in self._logged_warnings:
                runner.logger.warning(printable(str(sentence)))
                self._logged_warnings.append(sentence)


def write_metrics(work_dir: str, report: Mapping[str, Any]) -> None:
    """Write ``metrics.json`` into a work directory."""
    text = json.dumps(report, indent=2, allow_nan=False)
    write_atomically(Path(work_dir) / 'metrics.json', (text + '\n').encode())


def _gather_through_process_group(evaluator: Evaluator) -> None:
    """Make metrics use the process group, not files in the current folder."""
    if get_world_size() == 1:
        return
    for metric in _metrics(evaluator):
        if (getattr(metric, 'collect_device', None) == 'cpu'
                and getattr(metric, 'collect_dir', None) is None):
            metric.collect_device = 'gpu'


def _metrics(evaluator: Evaluator) -> list:
    """Return the metrics of an evaluator, which other packages may hide."""
    return getattr(evaluator, 'metrics', [])


def _section(metric: Any, name: str) -> Mapping:
    """Return a dict that a metric has as an attribute, or an empty one."""
    section = getattr(metric, name, None)
    return section if isinstance(section, Mapping) else {}


def _add(section: dict[str, Any], prefix: str, values: Mapping,
         metric: Any) -> None:
    """Add plain values to a section without replacing existing ones."""
    for key, value in values.items():
        name, value = f'{prefix}{key}', plain_value(value)
        if section.setdefault(name, value) != value:
            section[f'{type(metric).__name__}/{name}'] = value


def _describe_false_alarms(metrics: Mapping, conditions: Mapping) -> str:
    """Say how many normal images are above the threshold, if there is one."""
    rate, threshold = metrics.get(_FALSE_ALARMS), conditions.get(
        'image_threshold')
    if not isinstance(rate, int | float) or threshold is None:
        return ''
    number = conditions['images']
    wanted = conditions.get('wanted_false_alarm_rate')
    return (f'Normal test images above the threshold of {threshold:.4g}: '
            f'{round(rate * number)} of {number} ({100 * rate:.2g} %' +
            ('' if wanted is None else f', wanted {100 * wanted:.2g} %') + ')')
