"""One table of the metrics of many categories."""
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from mmad.evaluation.report import (
    UNDEFINED,
    describe_conditions,
    is_cell,
    is_known,
    plain_value,
    short_value,
)

from .atomic_files import write_atomically

_SECONDS = ('fit_seconds', 'test_seconds')


class SweepTable:
    """A row per category, then their unweighted means.

    A mean says of how many categories it is unless it is of all of them. A
    metric that is undefined for one category has no mean. Metrics of other
    packages stand as they are, not in %; what is no number, a list say, is
    in the JSON only.

    Args:
        title (str): Heading of the table.
        categories (Sequence[str]): What the sweep goes through; the order of
            the rows.
        whole (Sequence[str]): All categories of the data set.
        groups (dict[str, Sequence[str]]): Parts of ``whole`` with a mean of
            their own, such as ``textures``.

    Attributes:
        results (dict[str, dict]): For each finished category ``metrics`` and
            ``conditions`` as in ``metrics.json``, ``fit_seconds`` (None: not
            known) and ``test_seconds``.
        failures (dict[str, str]): What went wrong, for each failed category.
    """

    def __init__(self,
                 title: str,
                 categories: Sequence[str],
                 whole: Sequence[str],
                 groups: dict[str, Sequence[str]]) -> None:
        self.title = title
        self.categories = categories
        self.whole = whole
        self.groups = groups
        self.results: dict[str, dict] = {}
        self.failures: dict[str, str] = {}

    def write(self, folder: str | Path) -> None:
        """Write ``sweep.md``, ``sweep.csv`` and ``sweep.json``."""
        texts = dict(
            md=self.to_markdown(), csv=self.to_csv(), json=self.to_json())
        for suffix, text in texts.items():
            write_atomically(Path(folder, f'sweep.{suffix}'), text.encode())

    def to_markdown(self) -> str:
        """The table for readers: metrics in %, and what it rests on."""
        names = self._names()
        rows = [['category', *names, 'fit, s', 'test, s']]
        for category in self._done():
            result = self.results[category]
            rows.append([
                category, *(short_value(
                    name, result['metrics'].get(name, UNDEFINED))
                            for name in names),
                *(_whole_seconds(result[key]) for key in _SECONDS)
            ])
        for mean in self._means():
            rows.append([
                mean['name'],
                *(short_value(name, mean['metrics'][name])
                  for name in names), '', ''
            ])
        parts = [f'# {self.title}', _markdown(rows), *self._notes()]
        return '\n\n'.join(parts) + '\n'

    def to_csv(self) -> str:
        """The table for programs: fractions in full precision."""
        names = self._names()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(['category', *names, *_SECONDS])
        for category in self._done():
            result = self.results[category]
            writer.writerow([
                category,
                *(result['metrics'].get(name, UNDEFINED) for name in names),
                *(result[key] for key in _SECONDS)
            ])
        for mean in self._means():
            writer.writerow([mean['name'], *mean['metrics'].values(), '', ''])
        return text.getvalue()

    def to_json(self) -> str:
        """Everything: results, means, failures and what is missing."""
        content = dict(
            title=self.title,
            categories={name: self.results[name] for name in self._done()},
            means=self._means(),
            failed=self.failures,
            unfinished=self._unfinished(),
            left_out=self._left_out())
        content = plain_value(content)
        return json.dumps(content, indent=2, allow_nan=False) + '\n'

    def _done(self) -> list[str]:
        return [name for name in self.categories if name in self.results]

    def _unfinished(self) -> list[str]:
        return [
            name for name in self.categories
            if name not in self.results and name not in self.failures
        ]

    def _left_out(self) -> list[str]:
        return [name for name in self.whole if name not in self.categories]

    def _names(self) -> list[str]:
        return list(
            dict.fromkeys(
                name for category in self._done()
                for name, value in self.results[category]['metrics'].items()
                if is_cell(value)))

    def _means(self) -> list[dict]:
        return [
            self._mean(name, members)
            for name, members in {**self.groups, '': self.whole}.items()
            if set(members) & set(self.results)
        ]

    def _mean(self, group: str, members: Sequence[str]) -> dict:
        done = [name for name in self._done() if name in members]
        share = ([] if len(done) == len(members) else
                 [f'{len(done)} of {len(members)}'])
        words = ' '.join(share + [group] * bool(group))
        metrics = {}
        for name in self._names():
            values = [
                self.results[category]['metrics'].get(name, UNDEFINED)
                for category in done
            ]
            metrics[name] = (
                fmean(values) if all(map(_is_number, values)) else UNDEFINED)
        return dict(
            name=f'mean of {words}' if words else 'mean',
            categories=done,
            of=len(members),
            metrics=metrics)

    def _notes(self) -> list[str]:
        notes = self._conditions()
        notes += [
            f'{category} failed: {self.failures[category]}'
            for category in self.categories if category in self.failures
        ]
        notes += [
            f'{label}: {", ".join(names)}.'
            for label, names in (('Not finished', self._unfinished()),
                                 ('Not in this sweep', self._left_out()))
            if names
        ]
        return notes

    def _conditions(self) -> list[str]:
        groups: dict[str, list[str]] = {}
        for category in self._done():
            text = describe_conditions(self.results[category]['conditions'])
            groups.setdefault(text or 'no pixel metrics', []).append(category)
        others = [name for name in self._names() if not is_known(name)]
        head = 'Metrics in %'
        if others:
            head += f', {", ".join(others)} as they are'
        if len(groups) == 1:
            return [f'{head}; {text}.' for text in groups]
        return [f'{head}.'] + [
            f'{", ".join(names)}: {text}.' for text, names in groups.items()
        ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _whole_seconds(value: float | None) -> str:
    return '-' if value is None else f'{value:.0f}'


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows)]
    rules = ['-' * widths[0]] + [f'{"-" * (w - 1)}:' for w in widths[1:]]
    return '\n'.join(
        '| ' + ' | '.join([row[0].ljust(widths[0])] + [
            cell.rjust(width) for cell, width in zip(row[1:], widths[1:])
        ]) + ' |' for row in [rows[0], rules, *rows[1:]])
