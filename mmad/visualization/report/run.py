import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmad.errors import InputError, printable
from mmad.evaluation.predictions import Predictions

_TEST_AGAIN = ('test the checkpoint with tools/test.py, and '
               '--work-dir with this folder')
# Conditions that must agree between runs whose metrics are compared.
_SHARED = dict(
    images='number of images',
    defective_images='number of defective images',
    regions='number of defective regions',
    resolution='resolution of the pixel metrics',
    map_size='size of the anomaly maps',
    anomalous_only='choice of images for pixel metrics',
    fpr_limit='limit of AUPRO',
    spro_regions='number of regions of AUsPRO',
    spro_resolution='resolution of AUsPRO',
    spro_map_size='size of the anomaly maps of AUsPRO',
    spro_fpr_limit='limit of AUsPRO')


@dataclass
class Run:
    """What a test has left in a work directory.

    Attributes:
        name (str): Short name, different from those of other runs.
        folder (Path): The work directory.
        metrics (dict): The content of ``metrics.json`` without its sections.
        per_defect_type (dict): Metrics of each defect type.
        conditions (dict): How the metrics were computed.
        predictions (Predictions, optional): What was predicted, if known.
        notes (list[str]): Sentences about what is missing.
    """

    name: str
    folder: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    per_defect_type: dict[str, dict[str, Any]] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    predictions: Predictions | None = None
    notes: list[str] = field(default_factory=list)

    @cached_property
    def image_names(self) -> list[str]:
        """Paths of the images below the folder that they have in common."""
        paths = [] if self.predictions is None else self.predictions.paths
        return short_names(paths)


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Read work directories.

    Args:
        folders (Sequence[str | Path]): The directories.

    Returns:
        list[Run]: A run for each of them.

    Raises:
        InputError: If a directory is missing, given twice, or has no
            results; or a file in it is damaged.
    """
    paths = [Path(os.path.abspath(folder)) for folder in folders]
    for path, number in Counter(paths).items():
        if number > 1:
            raise InputError(f'the work dir "{path}" is given {number} times; '
                             'give each once.')
    return [
        _read_run(path, printable(name))
        for path, name in zip(paths, short_names([str(one) for one in paths]))
    ]


def _read_run(folder: Path, name: str) -> Run:
    if not folder.is_dir():
        raise InputError(f'the work dir "{folder}" is not a folder; give one '
                         'that tools/train.py or tools/test.py wrote.')
    run = Run(name, folder)
    metrics, predictions = folder / 'metrics.json', folder / 'predictions.npz'
    if not metrics.is_file() and not predictions.is_file():
        raise InputError(f'"{folder}" has no results of a test (metrics.json, '
                         f'predictions.npz); {_TEST_AGAIN}.')
    if metrics.is_file():
        values = _read_json(metrics)
        for section in ('per_defect_type', 'conditions'):
            part = values.pop(section, {})
            setattr(run, section, part if isinstance(part, dict) else {})
        run.metrics = values
    else:
        run.notes.append('There is no metrics.json, so metrics are missing.')
    if predictions.is_file():
        run.predictions = Predictions.load(predictions)
        number = run.conditions.get('images')
        if number is not None and number != len(run.predictions):
            run.notes.append(
                f'The metrics are of {number} images, the predictions of '
                f'{len(run.predictions)}: they are from different tests; '
                f'{_TEST_AGAIN}.')
    else:
        run.notes.append('There is no predictions.npz, so curves, histogram '
                         f'and images are missing; {_TEST_AGAIN}.')
    return run


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise InputError(f'"{path}" cannot be read ({type(error).__name__}); '
                         f'{_TEST_AGAIN}.') from error
    if not isinstance(values, dict):
        raise InputError(f'"{path}" does not hold metrics by name; '
                         f'{_TEST_AGAIN}.')
    return values


def find_differences(runs: Sequence[Run]) -> list[str]:
    """Say why the metrics of runs do not compare, one sentence each."""
    sentences = []
    tested = [run for run in runs if run.conditions]
    for key, words in _SHARED.items():
        values = [run.conditions.get(key) for run in tested]
        if len({json.dumps(value) for value in values}) > 1:
            found = ', '.join(f'{run.name}: {"-" if value is None else value}'
                              for run, value in zip(tested, values))
            sentences.append(f'The {words} differs ({found}).')
    known = [run for run in runs if run.predictions is not None]
    if len(known) > 1 and len({_digest(run) for run in known}) > 1:
        sentences.append('The runs were tested on different images.')
    return sentences


def _digest(run: Run) -> int:
    predictions = run.predictions
    assert predictions is not None
    return hash(frozenset(zip(run.image_names, predictions.is_defective)))


def short_names(paths: Sequence[str]) -> list[str]:
    """Shorten paths by the folder that all of them have in common."""
    # What the first and the last have in common, those between have too.
    ends = [min(paths, default=''), max(paths, default='')]
    shared = os.path.commonprefix(ends)  # noqa: RUF071, cut at a folder below
    start = max(shared.rfind('/'), shared.rfind(os.sep)) + 1
    return [path[start:] or '.' for path in paths]
