"""The table that `tools/sweep.py` writes."""
import io
import json
from collections.abc import Mapping, Sequence
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
    plain_value,
    short_value,
)
from mmad.utils import write_atomically


class SweepTable:
    """Table with a row per category and rows of their unweighted means.

    Args:
        title (str): Heading of the table.
        categories (Sequence[str]): Categories of the sweep, in the order of
            the rows.
        whole (Sequence[str]): All categories of the data set.
        groups (dict[str, Sequence[str]]): Groups of categories for which
            there is a separate mean, such as ``textures``.
    """

    def __init__(self, title: str, categories: Sequence[str],
                 whole: Sequence[str], groups: dict[str,
                                                    Sequence[str]]) -> None:
        self.title = title
        self.categories = categories
        self.whole = whole
        self.groups = groups
        self.results: dict[str, dict] = {}
        self.failures: dict[str, str] = {}

    def write(self, folder: Path) -> None:
        """Write ``sweep.md``, and ``sweep.json`` in full precision."""
        write_atomically(folder / 'sweep.md', self.to_markdown().encode())
        text = json.dumps(self.summarize(), indent=2, allow_nan=False) + '\n'
        write_atomically(folder / 'sweep.json', text.encode())

    def summarize(self) -> dict:
        """Return results, means, failures and missing categories as a dict."""
        done = {
            name: plain_value(self.results[name])
            for name in self.categories if name in self.results
        }
        metrics = list(
            dict.fromkeys(name for row in done.values()
                          for name, value in row['metrics'].items()
                          if is_table_value(value)))
        means = []
        for group, members in {**self.groups, '': self.whole}.items():
            rows = [name for name in done if name in members]
            share = (f'{len(rows)} of {len(members)}'
                     if len(rows) < len(members) else '')
            columns = {
                name: [done[row]['metrics'].get(name) for row in rows]
                for name in metrics
            }
            if rows:
                means.append(
                    dict(
                        name=' of '.join(
                            filter(None, ('mean', ' '.join(
                                filter(None, (share, group)))))),
                        categories=rows,
                        of=len(members),
                        metrics={
                            name: _mean(column)
                            for name, column in columns.items()
                        }))
        return dict(
            title=self.title,
            metrics=metrics,
            categories=done,
            means=means,
            failed=self.failures,
            unfinished=[
                name for name in self.categories
                if name not in done and name not in self.failures
            ],
            left_out=[
                name for name in self.whole if name not in self.categories
            ])

    def to_markdown(self) -> str:
        """Format the table as in papers, with the conditions below it."""
        summary = self.summarize()
        metrics, done = summary['metrics'], summary['categories']
        table = Table('category', box=box.MARKDOWN)
        for head in (*metrics, 'fit, s', 'test, s'):
            table.add_column(head, justify='right')
        for name, row in [
                *done.items(),
                *((mean['name'], mean) for mean in summary['means'])
        ]:
            table.add_row(
                name,
                *(short_value(metric, row['metrics'].get(metric, UNDEFINED))
                  for metric in metrics),
                *('-' if row[key] is None else f'{row[key]:.0f}'
                  for key in ('fit_seconds', 'test_seconds') if key in row))
        # As wide as needed, and without interpreting names as markup.
        console = Console(
            file=io.StringIO(),
            width=10**4,
            markup=False,
            emoji=False,
            highlight=False,
            color_system=None)
        console.print(table)
        conditions: dict[str, list[str]] = {}
        for name, row in done.items():
            text = describe_conditions(row['conditions'])
            conditions.setdefault(text or 'no pixel metrics', []).append(name)
        others = ', '.join(name for name in metrics if not is_known(name))
        head = f'Metrics in %, {others} as they are' if others else (
            'Metrics in %')
        notes = [f'{head}; {text}.'
                 for text in conditions] if len(conditions) == 1 else [
                     f'{head}.', *(f'{", ".join(names)}: {text}.'
                                   for text, names in conditions.items())
                 ]
        notes += [
            f'{name} failed: {reason}'
            for name, reason in summary['failed'].items()
        ]
        notes += [
            f'{label}: {", ".join(names)}.'
            for label, names in (('Not finished', summary['unfinished']),
                                 ('Not in this sweep', summary['left_out']))
            if names
        ]
        lines = console.file.getvalue().strip().splitlines()
        return '\n\n'.join((f'# {self.title}', '\n'.join(
            map(str.rstrip, lines)), *notes)) + '\n'


def _mean(values: list) -> float | str:
    if all(isinstance(value, int | float) for value in values):
        return fmean(values)
    return UNDEFINED


def list_figures(result: Mapping) -> str:
    """Format the metrics and the times of one category in a line."""
    figures = [
        f'{name} {short_value(name, value, "%")}'
        for name, value in result['metrics'].items() if is_table_value(value)
    ]
    seconds = [
        f'{name} {result[f"{name}_seconds"] or 0:.0f} s'
        for name in ('fit', 'test')
    ]
    return f'{", ".join(figures)} ({", ".join(seconds)})'
