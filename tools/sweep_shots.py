"""Sweeps with few training images: their draws and their table."""
from collections.abc import Iterator, Mapping, Sequence
from statistics import stdev

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
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

from mmad.errors import InputError
from mmad.evaluation.report import plain_value, short_value, sort_metrics
from mmad.registry import DATASETS
from mmad.utils.config_parts import (
    constructor_parameters,
    find_type,
    type_name,
)


class ShotTable(RunTable):
    """Table of means and standard deviations over draws of training images.

    Args:
        title (str): Heading of the table.
        categories (Sequence[str]): Categories of the sweep, in the order of
            the rows.
        whole (Sequence[str]): All categories of the data set.
        shots (Sequence[int]): Numbers of training images.
        seeds (int): Number of draws.
        published (Mapping[int, Published]): Published results by the number
            of training images. Defaults to none.
    """

    NAME = 'shots'

    def __init__(
            self,
            title: str,
            categories: Sequence[str],
            whole: Sequence[str],
            shots: Sequence[int],
            seeds: int,
            published: Mapping[int | None, Published] | None = None) -> None:
        super().__init__(title)
        self.categories = categories
        self.whole = whole
        self.shots = shots
        self.seeds = seeds
        self.published = published or {}

    def runs(self) -> Iterator[tuple[str, int, int, str]]:
        """Iterate over category, shots, seed and name of the runs."""
        for category in self.categories:
            for shots in self.shots:
                for seed in range(self.seeds):
                    name = f'{category}/{shots}_shot/seed_{seed}'
                    yield category, shots, seed, name

    def summarize(self) -> dict:
        """Return rows, means, runs, failures and missing runs as a dict."""
        done = {
            name: plain_value(self.results[name])
            for *_, name in self.runs() if name in self.results
        }
        # Those of verdicts, which few images lack, would come last.
        metrics = list(
            sort_metrics(dict.fromkeys(table_metrics(done.values()), 0)))
        summary = dict(
            title=self.title,
            metrics=metrics,
            shots=list(self.shots),
            seeds=self.seeds,
            rows=self._rows(done, metrics),
            means=self._means(done, metrics),
            runs=done,
            failed=self.failures,
            unfinished=[
                name for *_, name in self.runs()
                if name not in done and name not in self.failures
            ],
            left_out=[
                name for name in self.whole if name not in self.categories
            ])
        if self.published:
            summary['against'] = {
                shots: published.summarize()
                for shots, published in self.published.items()
            }
        return summary

    def to_markdown(self) -> str:
        """Format the table as in papers, with the conditions below it."""
        summary = self.summarize()
        metrics = summary['metrics']
        theirs = {
            metric: published.kind
            for published in self.published.values()
            for metric in published.figures
        }
        heads = ['category', 'shots', 'seeds', *metric_heads(metrics, theirs)]
        rows = []
        for row in [*summary['rows'], *summary['means']]:
            cells = [row['name'], str(row['shots']), str(len(row['seeds']))]
            for metric in metrics:
                cells.append(_format(metric, row['metrics'][metric]))
                if metric in theirs:
                    cells.append(
                        short_value(metric, row['published'].get(metric)))
            rows.append(cells)
        rows += self._format_published(summary, theirs)
        conditions: dict[str, dict] = {}
        for category, *_, name in self.runs():
            if name in summary['runs']:
                # The threshold is another one in each run.
                conditions.setdefault(
                    category, {
                        key: value
                        for key, value in summary['runs'][name]['conditions'].
                        items() if not key.endswith('_threshold')
                    })
        notes = [
            *describe_metrics(metrics, conditions),
            'Mean ± standard deviation (n - 1) over the seeds, which draw the '
            'training images; in rows of means, of the means of each seed.'
        ]
        notes += self._describe_published(metrics)
        notes += describe_gaps(summary)
        return join_markdown(self.title, draw_table(heads, rows), notes)

    def _rows(self, done: Mapping, metrics: Sequence[str]) -> list[dict]:
        return [
            dict(
                name=category,
                shots=shots,
                seeds=list(found),
                metrics={
                    metric:
                    _spread([
                        result['metrics'].get(metric)
                        for result in found.values()
                    ])
                    for metric in metrics
                },
                published=self._published(shots, [category]))
            for category in self.categories for shots in self.shots
            if (found := self._finished(done, category, shots))
        ]

    def _means(self, done: Mapping, metrics: Sequence[str]) -> list[dict]:
        """Average over the categories for each seed, then over the seeds."""
        means = []
        for shots in self.shots:
            found = {
                category: results
                for category in self.categories
                if (results := self._finished(done, category, shots))
            }
            seeds = [
                seed for seed in range(self.seeds)
                if found and all(seed in results for results in found.values())
            ]
            if seeds:
                means.append(
                    dict(
                        name=share_of(list(found), self.whole),
                        categories=list(found),
                        of=len(self.whole),
                        shots=shots,
                        seeds=seeds,
                        metrics={
                            metric:
                            _spread([
                                _mean([
                                    results[seed]['metrics'].get(metric)
                                    for results in found.values()
                                ]) for seed in seeds
                            ])
                            for metric in metrics
                        },
                        published=self._published(shots, list(found))))
        return means

    def _finished(self, done: Mapping, category: str,
                  shots: int) -> dict[int, dict]:
        """Return the results of a category by their seed."""
        return {
            seed: done[name]
            for of, number, seed, name in self.runs()
            if (of, number) == (category, shots) and name in done
        }

    def _published(self, shots: int, categories: Sequence[str]) -> dict:
        published = self.published.get(shots)
        if published is None:
            return {}
        return {
            metric: published.mean(metric, categories, self.whole)
            for metric in published.figures
        }

    def _format_published(self, summary: dict,
                          theirs: Mapping[str, str]) -> Iterator[list[str]]:
        """Format published means over all, where ours are not over all."""
        whole = [
            mean['shots'] for mean in summary['means']
            if len(mean['categories']) == len(self.whole)
        ]
        for shots, published in self.published.items():
            if shots in whole:
                continue
            cells = [f'mean of {len(self.whole)}', str(shots), '-']
            for metric in summary['metrics']:
                cells.append('-')
                if metric in theirs:
                    mean = published.mean(metric, self.whole, self.whole)
                    cells.append(short_value(metric, mean))
            yield cells

    def _describe_published(self, metrics: Sequence[str]) -> list[str]:
        lines = [
            f'Published, {shots}-shot: {published.name()}.'
            for shots, published in self.published.items()
        ]
        for published in self.published.values():
            lines += published.notes(metrics)
        return list(dict.fromkeys(lines))


def count_images(cfg: Config) -> int:
    """Return the number of training images that can be drawn.

    Raises:
        InputError: If they are missing, or cannot be chosen.
    """
    place = 'train_dataloader.dataset'
    dataset = cfg.train_dataloader.dataset
    kind = find_type(place, dataset, DATASETS)
    if 'indices' not in (constructor_parameters(kind) or ()):
        raise InputError(f'--shots does not apply: {type_name(kind)} has no '
                         '`indices`, which choose the training images; leave '
                         'it out.')
    if dataset.get('indices') is not None:
        raise InputError(f'--shots chooses `{place}.indices`, but the config '
                         'sets them, too; leave out one of the two.')
    init_default_scope('mmad')
    return len(DATASETS.build(dict(dataset, pipeline=[])))


def draw_images(number: int, shots: int, seed: int) -> list[int]:
    """Draw the indices of a few training images at random.

    The seed puts the images, in the order of the data set, into a random
    order, of which the first ones are taken. So the images for fewer shots
    are among those for more, and a draw is the same on every machine.

    Args:
        number (int): Number of training images.
        shots (int): How many of them to draw.
        seed (int): Seed of the order.

    Returns:
        list[int]: Indices in ascending order.
    """
    # The stream of this generator never changes, unlike that of newer ones.
    order = np.random.RandomState(seed).permutation(number)
    return sorted(order[:shots].tolist())


def _mean(values: Sequence) -> float | str | None:
    return None if None in values else mean_of(values)


def _spread(values: Sequence) -> dict[str, float | None] | str | None:
    """Return mean and standard deviation; None if a value is missing."""
    mean = _mean(values)
    if not isinstance(mean, float):
        return mean
    return dict(mean=mean, std=stdev(values) if len(values) > 1 else None)


def _format(metric: str, spread: dict | str | None) -> str:
    if not isinstance(spread, dict):
        return short_value(metric, spread)
    mean, std = (short_value(metric, spread[key]) for key in ('mean', 'std'))
    return mean if spread['std'] is None else f'{mean} ± {std}'
