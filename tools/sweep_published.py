"""Published results that `tools/sweep.py --against` shows beside ours."""
from collections.abc import Iterable, Mapping, Sequence
from math import log
from numbers import Real
from statistics import fmean
from typing import Any

import yaml
from mmengine.config import Config

from mmad.errors import InputError
from mmad.registry import MODELS
from mmad.shipped_files import published_results
from mmad.utils.config_parts import (
    constructor_parameters,
    find_type,
    type_name,
)

KINDS = ('paper', 'code')


class Published:
    """The published setting that is nearest to that of a config.

    Args:
        entry (Mapping): An entry of ``configs/published_results.yml``.
        here (Mapping): The settings of the config, with the keys of those
            of the entry.
    """

    def __init__(self, entry: Mapping, here: Mapping) -> None:
        self.kind: str = entry['kind']
        self.figures: Mapping[str, Mapping] = entry['figures']
        self.entry = entry
        self.differences = {
            key: (value, here[key])
            for key, value in entry['settings'].items()
            if not _is_same(value, here[key])
        }

    def value(self, metric: str, category: str) -> float | None:
        """Return the published fraction of one category, if there is one."""
        figure = self.figures.get(metric, {})
        return _fraction(figure.get('categories', {}).get(category))

    def mean(self, metric: str, categories: Sequence[str],
             whole: Sequence[str]) -> float | None:
        """Return the published mean over categories, as a fraction.

        Over the whole data set, it is the one that the source states. Over
        others, it is computed if there is a figure of each of them.
        """
        figure = self.figures.get(metric, {})
        if set(categories) == set(whole) and 'mean' in figure:
            return _fraction(figure['mean'])
        values = [self.value(metric, name) for name in categories]
        known = [value for value in values if value is not None]
        return fmean(known) if values and len(known) == len(values) else None

    def name(self) -> str:
        """Name the setting and its source."""
        entry = self.entry
        what = (f'"{entry["title"]}", {entry["name"]}'
                if 'title' in entry else entry['name'])
        return f'{what} ({entry["url"]})'

    def notes(self, metrics: Iterable[str]) -> list[str]:
        """Describe sources and differences in lines below a table.

        Args:
            metrics (Iterable[str]): Names of the metrics of the table.
        """
        metrics = list(metrics)
        sources: dict[str, list[str]] = {}
        for metric, figure in self.figures.items():
            sources.setdefault(figure['source'], []).append(metric)
        lines = [
            f'Source of {", ".join(names)}: {source}.'
            for source, names in sources.items()
        ]
        for label, names in (('Not published',
                              [m for m in metrics if m not in self.figures]),
                             ('Published, but not measured here',
                              [m for m in self.figures if m not in metrics])):
            if names:
                lines.append(f'{label}: {", ".join(names)}.')
        lines += [
            f'{metric}: {figure["note"]}'
            for metric, figure in self.figures.items() if 'note' in figure
        ]
        if self.differences:
            theirs, ours = (', '.join(
                f'{key}={_show(pair[side])}'
                for key, pair in self.differences.items()) for side in (0, 1))
            lines.append(f'Settings that differ, {self.kind}: {theirs}; '
                         f'here: {ours}.')
        elif self.entry['settings']:
            lines.append('The settings that the source states are the same '
                         'here.')
        if 'protocol' in self.entry:
            lines.append(f'{self.kind.capitalize()}: '
                         f'{self.entry["protocol"]}')
        return lines

    def summarize(self) -> dict:
        """Return the entry with fractions, and the differences."""
        figures = {}
        for metric, figure in self.figures.items():
            categories = {
                name: self.value(metric, name)
                for name in figure.get('categories', {})
            }
            figures[metric] = dict(
                figure,
                mean=_fraction(figure.get('mean')),
                categories=categories)
        return dict(
            self.entry,
            figures=figures,
            differences={
                key: dict(zip((self.kind, 'here'), pair))
                for key, pair in self.differences.items()
            })


def find_published(kind: str,
                   cfg: Config,
                   shots: int | None = None) -> Published | None:
    """Find the published setting that is nearest to that of a config.

    Only those of the same method, data set and number of shots count. Of
    these, one with the same backbone is nearer than one with another, then
    one with more settings that are the same, then one with fewer that
    differ, then one whose numbers differ by smaller factors, then the first
    one of the file.

    Args:
        kind (str): One of :data:`KINDS`.
        cfg (Config): Config of a sweep.
        shots (int, optional): Number of training images. Defaults to None:
            all.
    """
    method, dataset = type_name(cfg.model.type), _dataset(cfg)
    found = []
    for entry in load_published():
        settings = entry['settings']
        if (entry['kind'], entry['method'], entry['dataset'],
                settings.get('shots')) != (kind, method, dataset, shots):
            continue
        here = {key: _setting(cfg, key, shots) for key in settings}
        published = Published(entry, here)
        distance = sum(
            abs(log(theirs / ours))
            for theirs, ours in published.differences.values()
            if _is_positive(theirs) and _is_positive(ours))
        number = len(published.differences)
        other_backbone = any(
            key.endswith('backbone.name') for key in published.differences)
        found.append(((other_backbone, number - len(settings), number,
                       distance), published))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def require_published(kind: str, cfg: Config,
                      shots: Sequence[int]) -> dict[int | None, Published]:
    """Find the published settings for a sweep, by number of shots.

    Args:
        kind (str): One of :data:`KINDS`.
        cfg (Config): Config of a sweep.
        shots (Sequence[int]): Numbers of training images; empty for all.

    Raises:
        InputError: If there are none.
    """
    found: dict[int | None, Published] = {}
    for number in shots or (None, ):
        published = find_published(kind, cfg, number)
        if published is not None:
            found[number] = published
    if not found:
        method = type_name(cfg.model.type)
        known = dict.fromkeys(
            f'--against {entry["kind"]} on {entry["dataset"]}' +
            (f' --shots {entry["settings"]["shots"]}' if 'shots' in
             entry['settings'] else '') for entry in load_published()
            if entry['method'] == method)
        asked = f' --shots {" ".join(map(str, shots))}' if shots else ''
        raise InputError(
            f'there are no published results for --against {kind}{asked} of '
            f'{method} on {_dataset(cfg)}; ' +
            (f'there are some for {", ".join(known)}.'
             if known else 'leave out --against.'))
    return found


def load_published() -> list[dict]:
    """Read the file with the published results."""
    return yaml.safe_load(published_results().read_text(encoding='utf-8'))


def _dataset(cfg: Config) -> str:
    dataset = cfg.test_dataloader.dataset
    steps = [type_name(step.type) for step in dataset.get('pipeline', ())]
    variant = 'Rd-' if 'RandomPose' in steps else ''
    return variant + type_name(dataset.type)


def _setting(cfg: Config, key: str, shots: int | None) -> Any:
    """Look up a setting of a config by its name in the file."""
    if key == 'shots':
        return shots
    if key == 'input':
        return _input_side(cfg.test_dataloader.dataset.get('pipeline', ()))
    value: Any = cfg.model
    for part in key.split('.'):
        if isinstance(value, list | tuple) and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, dict) and 'type' in value:
            kind = find_type(f'model: {key}', value, MODELS)
            default = (constructor_parameters(kind) or {}).get(part)
            value = default and default.default
        else:
            return None
    return value


def _input_side(pipeline: Sequence[Mapping]) -> Any:
    """Return the side of what a pipeline makes, or both if they differ."""
    for step in reversed(pipeline):
        size = step.get('crop_size', step.get('scale'))
        if isinstance(size, Sequence) and len(set(size)) == 1:
            return size[0]
        if size is not None:
            return size
    return None


def _is_same(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, list) and isinstance(ours, list | tuple):
        return theirs == list(ours)
    return theirs == ours


def _is_positive(value: Any) -> bool:
    return isinstance(value, Real) and value > 0


def _fraction(value: float | None) -> float | None:
    # Without the digits that a division adds.
    return None if value is None else round(value / 100, 6)


def _show(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f'[{", ".join(map(str, value))}]'
    return 'not set' if value is None else str(value)
