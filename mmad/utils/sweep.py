import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, TimeoutExpired

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from mmad.evaluation.report import is_cell, short_value

from .category_run import CategoryError, CategoryRun
from .sweep_table import SweepTable

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10


@dataclass
class _Job:
    run: CategoryRun
    slot: dict[str, str]
    steps: Iterator[Popen]
    process: Popen | None = None


class Sweep:
    """Goes through categories, as many at a time as there are slots.

    One that fails takes none of the others along. The table is written at the
    start and after each category.

    Args:
        runs (Sequence[CategoryRun]): The categories.
        table (SweepTable): Empty table of these categories.
        folder (Path): Where the table is written.
    """

    def __init__(self, runs: Sequence[CategoryRun], table: SweepTable,
                 folder: Path) -> None:
        self.runs = runs
        self.table = table
        self.folder = folder
        self._progress = Progress(
            TextColumn('categories'), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), transient=True)
        self._progress.disable = not self._progress.console.is_terminal

    def run(self, slots: Sequence[dict[str, str]], resume: bool) -> None:
        """Run all categories; none of their processes outlives this call.

        Args:
            slots (Sequence[dict[str, str]]): Variables for the processes of
                a category, one dict for each that runs at the same time.
            resume (bool): Leave out what is finished with the same config
                and go on with the rest.
        """
        for run in self.runs:
            self._prepare(run, resume)
        self.table.write(self.folder)
        waiting = deque(run for run in self.runs if run.result is None)
        self._bar = self._progress.add_task(
            '', total=len(self.runs), completed=len(self.table.results))
        free, running = list(slots), []
        with self._progress:
            try:
                while waiting or running:
                    while waiting and free:
                        running.append(
                            self._start(waiting.popleft(), free.pop(0)))
                    time.sleep(_POLL_SECONDS)
                    for job in running.copy():
                        if not self._goes_on(job):
                            running.remove(job)
                            free.append(job.slot)
            finally:
                _stop([job.process for job in running if job.process])

    def _prepare(self, run: CategoryRun, resume: bool) -> None:
        if run.prepare(resume):
            self._say(f'{run.category}: the config has changed, starting anew')
        if run.result is not None:
            self.table.results[run.category] = run.result
            self._say(f'{run.category}: finished before')

    def _start(self, run: CategoryRun, slot: dict[str, str]) -> _Job:
        gpu = slot.get('CUDA_VISIBLE_DEVICES')
        place = '' if gpu is None else f' on GPU {gpu}'
        self._say(f'{run.category}: started{place}')
        return _Job(run, slot, run.steps(slot))

    def _goes_on(self, job: _Job) -> bool:
        if job.process is not None and job.process.poll() is None:
            return True
        category = job.run.category
        try:
            job.process = next(job.steps, None)
            if job.process is not None:
                return True
            self.table.results[category] = job.run.result
            self._say(f'{category}: {_figures(job.run.result)}')
        except CategoryError as error:
            self.table.failures[category] = str(error)
            self._say(f'{category}: FAILED, {error} (log: {job.run.log})')
        self.table.write(self.folder)
        self._progress.advance(self._bar)
        return False

    def _say(self, line: str) -> None:
        self._progress.console.print(
            line, markup=False, highlight=False, soft_wrap=True)


def _figures(result: dict) -> str:
    figures = [
        f'{name} {short_value(name, value, "%")}'
        for name, value in result['metrics'].items() if is_cell(value)
    ]
    seconds = ', '.join(
        f'{name} {result[f"{name}_seconds"]:.0f} s'
        for name in ('fit', 'test')
        if result[f'{name}_seconds'] is not None)
    return f'{", ".join(figures)} ({seconds})'


def _stop(processes: Sequence[Popen]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_GRACE_SECONDS)
        except TimeoutExpired:
            process.kill()
            process.wait()
