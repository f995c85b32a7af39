import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import DataLoader

from mmad.errors import InputError
from mmad.evaluation.report import UNDEFINED, format_table, sort_metrics
from mmad.registry import LOOPS
from mmad.utils.arguments import check_number
from mmad.utils.checkpoint import latest_checkpoint, numbered_checkpoints

from .hooks.report_hook import ReportHook, write_metrics


@LOOPS.register_module()
class CheckpointMeanLoop(TestLoop):
    """Test the last checkpoints of a training, and report their mean.

    MKD (Salehi et al., CVPR 2021) reports the mean over checkpoints after
    convergence, so that no test image chooses a checkpoint. The loop tests
    the checkpoint that is to be tested and those before it in its folder, as
    ``epoch_10.pth`` is before ``epoch_20.pth``. For ``tools/test.py`` and
    ``tools/sweep.py``, name it in ``test_cfg``.

    It logs the metrics of each checkpoint, their mean and their standard
    deviation. In ``metrics.json`` are the means, also for each defect type,
    and ``conditions`` has the metrics of each checkpoint (``checkpoints``),
    the standard deviations (``spread``), and of the other entries those which
    all checkpoints share. Predictions and drawings are those of the last.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader | dict): Loader of the test images.
        evaluator (Evaluator | dict | list): Metrics.
        num_checkpoints (int): How many to test. ``max_keep_ckpts`` of the
            CheckpointHook must keep as many.
        fp16 (bool): Whether to test in half precision. Defaults to False.

    Raises:
        InputError: ``num_checkpoints`` is not above 0, or there are fewer.
    """

    def __init__(self,
                 runner: Runner,
                 dataloader: DataLoader | dict,
                 evaluator: Evaluator | dict | list,
                 num_checkpoints: int,
                 fp16: bool = False) -> None:
        check_number('num_checkpoints', num_checkpoints, low=1, integer=True)
        super().__init__(runner, dataloader, evaluator, fp16)
        self.num_checkpoints = num_checkpoints

    def run(self) -> dict:
        """Test the checkpoints, and return the mean of each metric."""
        results, reports = {}, []
        for path in self._find_checkpoints():
            self.runner.load_checkpoint(str(path))
            results[path.name] = sort_metrics(super().run())
            if results[path.name]:
                reports += self._read_report()
        values = list(results.values())
        mean, spread = _mean(values), _spread(values)
        table = format_table(
            'checkpoint',
            [*results.items(), ('mean', mean), ('spread', spread)])
        self.runner.logger.info(f'\n{table}')
        if reports:
            report = _mean(reports)
            report['conditions'] = dict(
                _shared([one['conditions'] for one in reports]),
                checkpoints=results,
                spread=spread)
            write_metrics(self.runner.work_dir, report)
        return mean

    def _find_checkpoints(self) -> list[Path]:
        # Behind a training in the same process, what it has written.
        given = latest_checkpoint(self.runner.work_dir) if isinstance(
            self.runner._train_loop, BaseLoop) else self.runner._load_from
        found = numbered_checkpoints(given) if given else []
        if len(found) < self.num_checkpoints:
            raise InputError(
                f'the mean over {self.num_checkpoints} checkpoints needs as '
                f'many up to "{given}" in its folder, which has {len(found)}; '
                'keep more with `default_hooks.checkpoint.max_keep_ckpts`, or '
                'test fewer with --cfg-options test_cfg.num_checkpoints=1.')
        return found[-self.num_checkpoints:]

    def _read_report(self) -> list[dict]:
        """Return what the ReportHook has just written, if there is one."""
        if not is_main_process() or not any(
                isinstance(hook, ReportHook) for hook in self.runner.hooks):
            return []
        text = Path(self.runner.work_dir, 'metrics.json').read_text()
        return [json.loads(text)]


def _mean(values: Sequence[Any]) -> Any:
    """Return the mean of numbers, or of each number in dicts."""
    first = values[0]
    if isinstance(first, dict):
        return {
            key: _mean([value[key] for value in values])
            for key in first if all(key in value for value in values)
        }
    if _are_numbers(values):
        return fmean(values)
    return first if all(value == first for value in values) else UNDEFINED


def _spread(results: Sequence[dict]) -> dict:
    """Return the standard deviation of each metric that has one."""
    columns: dict[str, list[Any]] = {
        name: [result.get(name) for result in results]
        for name in results[0]
    }
    return {
        name: stdev(column)
        for name, column in columns.items()
        if _are_numbers(column) and len(column) > 1
    }


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _shared(sections: Sequence[dict]) -> dict:
    return {
        key: value
        for key, value in sections[0].items() if all(
            section.get(key) == value for section in sections)
    }
