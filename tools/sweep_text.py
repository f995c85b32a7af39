"""What the tables of `tools/sweep.py` share."""
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from rich import box
from rich.console import Console
from rich.table import Table

from mmad.evaluation.report import (
    UNDEFINED,
    describe_conditions,
    is_known,
    is_table_value,
    short_value,
)
from mmad.utils import write_atomically


class RunTable(ABC):
    """Table of the results of several runs.

    Args:
        title (str): Heading of the table.

    Attributes:
        NAME (str): Name of its two files, without suffix.
        results (dict[str, dict]): Results by the name of the run.
        failures (dict[str, str]): Reasons by the name of the run.
    """

    NAME: str

    def __init__(self, title: str) -> None:
        self.title = title
        self.results: dict[str, dict] = {}
        self.failures: dict[str, str] = {}

    @abstractmethod
    def summarize(self) -> dict:
        """Return all that the table has, in full precision."""

    @abstractmethod
    def to_markdown(self) -> str:
        """Format the table as in papers, with notes below it."""

    def write(self, folder: Path) -> None:
        """Write it as Markdown, and as JSON in full precision."""
        text = json.dumps(self.summarize(), indent=2, allow_nan=False) + '\n'
        write_atomically(folder / f'{self.NAME}.md',
                         self.to_markdown().encode())
        write_atomically(folder / f'{self.NAME}.json', text.encode())


def draw_table(heads: Sequence[str],
               rows: Iterable[Sequence[str]],
               left: int = 1) -> str:
    """Draw a table in Markdown; the first ``left`` columns hold words."""
    table = Table(box=box.MARKDOWN)
    for number, head in enumerate(heads):
        table.add_column(head, justify='left' if number < left else 'right')
    for row in rows:
        table.add_row(*row)
    # As wide as needed, and without interpreting names as markup.
    console = Console(
        file=io.StringIO(),
        width=10**4,
        markup=False,
        emoji=False,
        highlight=False,
        color_system=None)
    console.print(table)
    lines = console.file.getvalue().strip().splitlines()
    return '\n'.join(map(str.rstrip, lines))


def metric_heads(metrics: Iterable[str], kinds: Mapping[str,
                                                        str]) -> list[str]:
    """Name the columns of the metrics, and of the published ones."""
    heads = []
    for metric in metrics:
        heads.append(metric)
        if metric in kinds:
            heads.append(f'{metric}, {kinds[metric]}')
    return heads


def table_metrics(results: Iterable[Mapping]) -> list[str]:
    """List the metrics that can be shown in a table of numbers."""
    return list(
        dict.fromkeys(name for result in results
                      for name, value in result['metrics'].items()
                      if is_table_value(value)))


def describe_metrics(metrics: Iterable[str],
                     conditions: Mapping[str, Mapping]) -> list[str]:
    """Describe units and conditions of the metrics in lines.

    Args:
        metrics (Iterable[str]): Names of the metrics.
        conditions (Mapping[str, Mapping]): Conditions by name of a row.
    """
    rows: dict[str, list[str]] = {}
    for name, values in conditions.items():
        text = describe_conditions(values)
        rows.setdefault(text or 'no pixel metrics', []).append(name)
    others = ', '.join(name for name in metrics if not is_known(name))
    head = f'Metrics in %, {others} as they are' if others else 'Metrics in %'
    if len(rows) == 1:
        return [f'{head}; {text}.' for text in rows]
    return [
        f'{head}.',
        *(f'{", ".join(names)}: {text}.' for text, names in rows.items())
    ]


def describe_gaps(summary: Mapping) -> list[str]:
    """Name in lines what failed, is not finished or is left out."""
    return [
        *(f'{name} failed: {reason}'
          for name, reason in summary['failed'].items()),
        *(f'{label}: {", ".join(names)}.'
          for label, names in (('Not finished', summary['unfinished']),
                               ('Not in this sweep', summary['left_out']))
          if names)
    ]


def join_markdown(title: str, table: str, notes: Iterable[str]) -> str:
    """Put a table below its heading and above its notes."""
    return '\n\n'.join((f'# {title}', table, *notes)) + '\n'


def share_of(done: Sequence, whole: Sequence, group: str = '') -> str:
    """Name a mean, such as ``'mean of 3 of 5 textures'``."""
    share = f'{len(done)} of {len(whole)}' if len(done) < len(whole) else ''
    of = ' '.join(filter(None, (share, group)))
    return f'mean of {of}' if of else 'mean'


def mean_of(values: Sequence) -> float | str:
    """Return the mean of numbers, or that there is none."""
    if values and all(isinstance(value, int | float) for value in values):
        return fmean(values)
    return UNDEFINED


def list_figures(result: Mapping) -> str:
    """Format the metrics and the times of one run in a line."""
    figures = [
        f'{name} {short_value(name, value, "%")}'
        for name, value in result['metrics'].items() if is_table_value(value)
    ]
    seconds = [
        f'{name} {result[f"{name}_seconds"] or 0:.0f} s'
        for name in ('fit', 'test')
    ]
    return f'{", ".join(figures)} ({", ".join(seconds)})'
