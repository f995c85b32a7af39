"""The table of `tools/sweep.py` over the categories of a data set."""
from collections.abc import Sequence

from sweep_published import Published
from sweep_text import (
    RunTable,
    describe_gaps,
    describe_metrics,
    draw_table,
    join_markdown,
    mean_of,
    metric_heads,
    share_of,
    table_metrics,
)

from mmad.evaluation.report import UNDEFINED, plain_value, short_value


class SweepTable(RunTable):
    """Table with a row per category and rows of their unweighted means.

    Args:
        title (str): Heading of the table.
        categories (Sequence[str]): Categories of the sweep, in the order of
            the rows.
        whole (Sequence[str]): All categories of the data set.
        groups (dict[str, Sequence[str]]): Groups of categories for which
            there is a separate mean, such as ``textures``.
        published (Published, optional): Published results, which get columns
            of their own. Defaults to None.
    """

    NAME = 'sweep'

    def __init__(self,
                 title: str,
                 categories: Sequence[str],
                 whole: Sequence[str],
                 groups: dict[str, Sequence[str]],
                 published: Published | None = None) -> None:
        super().__init__(title)
        self.categories = categories
        self.whole = whole
        self.groups = groups
        self.published = published

    def summarize(self) -> dict:
        """Return results, means, failures and missing categories as a dict."""
        done = {
            name: plain_value(self.results[name])
            for name in self.categories if name in self.results
        }
        metrics = table_metrics(done.values())
        means = []
        for group, members in {**self.groups, '': self.whole}.items():
            rows = [name for name in done if name in members]
            if rows:
                means.append(
                    dict(
                        name=share_of(rows, members, group),
                        categories=rows,
                        of=len(members),
                        metrics={
                            name:
                            mean_of([
                                done[row]['metrics'].get(name) for row in rows
                            ])
                            for name in metrics
                        }))
        summary = dict(
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
        if self.published is not None:
            summary['against'] = self.published.summarize()
            for name, row in done.items():
                row['published'] = {
                    metric: self.published.value(metric, name)
                    for metric in self.published.figures
                }
            for mean in means:
                mean['published'] = {
                    metric:
                    self.published.mean(metric, mean['categories'], self.whole)
                    for metric in self.published.figures
                }
        return summary

    def to_markdown(self) -> str:
        """Format the table as in papers, with the conditions below it."""
        summary = self.summarize()
        metrics, done = summary['metrics'], summary['categories']
        theirs = {} if self.published is None else dict.fromkeys(
            self.published.figures, self.published.kind)
        rows = [
            self._format(name, row, metrics) for name, row in [
                *done.items(), *((mean['name'], mean)
                                 for mean in summary['means'])
            ]
        ]
        notes = describe_metrics(metrics, {
            name: row['conditions']
            for name, row in done.items()
        })
        if self.published is not None:
            if len(done) < len(self.whole):
                mean = {
                    metric: self.published.mean(metric, self.whole, self.whole)
                    for metric in self.published.figures
                }
                rows.append(
                    self._format(f'mean of {len(self.whole)}',
                                 dict(published=mean), metrics))
            notes += [
                f'Published: {self.published.name()}.',
                *self.published.notes(metrics)
            ]
        notes += describe_gaps(summary)
        return join_markdown(
            self.title,
            draw_table([
                'category', *metric_heads(metrics, theirs), 'fit, s', 'test, s'
            ], rows), notes)

    def _format(self, name: str, row: dict, metrics: Sequence[str]) -> list:
        """Format a row; one without metrics is of published ones only."""
        cells = [name]
        for metric in metrics:
            cells.append(
                short_value(metric, row['metrics'].get(metric, UNDEFINED)
                            ) if 'metrics' in row else '-')
            if self.published and metric in self.published.figures:
                cells.append(short_value(metric, row['published'][metric]))
        cells += [
            '-' if row[key] is None else f'{row[key]:.0f}'
            for key in ('fit_seconds', 'test_seconds') if key in row
        ]
        return cells
