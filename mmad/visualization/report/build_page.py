import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mmad.errors import printable
from mmad.evaluation.choose_examples import Candidate, choose_examples
from mmad.evaluation.example import Example
from mmad.evaluation.report import (
    IMAGE_METRICS,
    PIXEL_METRICS,
    SATURATED_METRICS,
    UNDEFINED,
    describe_conditions,
    is_table_value,
    short_value,
    sort_metrics,
)
from mmad.utils.progress import show_progress
from mmad.version import __version__

from ..heat_scale import HeatScale
from .paths import SIDE
from .pictures import Pictures
from .plot import draw_plots
from .run import Run, find_differences
from .score_bins import bin_scores
from .thresholds import find_thresholds

_FOLDER = Path(__file__).parent
_TITLES = dict(
    image_auroc='Image AUROC',
    image_ap='Image AP',
    image_f1max='Image best F1',
    image_auroc_mean='Image AUROC, mean of the defect types',
    image_precision='Precision at the calibrated threshold',
    image_recall='Recall at the calibrated threshold',
    image_false_alarm_rate='False-alarm rate at the calibrated threshold',
    pixel_auroc='Pixel AUROC',
    pixel_ap='Pixel AP',
    pixel_f1max='Pixel best F1',
    aupro='AUPRO',
    auspro='AUsPRO',
    auspro_mean='AUsPRO, mean of the defect types')
# Up to so many pictures they are larger.
_FEW, _LARGE, _SMALL = 150, 256, 160


def build_page(runs: Sequence[Run], title: str, max_images: int = 500) -> str:
    """Build the page of a report, which needs no other file and no network.

    Args:
        runs (Sequence[Run]): What tests have left behind.
        title (str): Title of the page.
        max_images (int): Largest number of images in the gallery, which the
            runs share. Defaults to 500.

    Returns:
        str: HTML.
    """
    known = [run for run in runs if run.predictions is not None]
    limit = max_images // max(1, len(known))
    chosen = {id(run): _choose(run, limit) for run in known}
    number = sum(map(len, chosen.values()))
    pictures = Pictures(_LARGE if number <= _FEW else _SMALL)
    shown = [
        _describe(run, number, chosen.get(id(run), []), pictures)
        for number, run in enumerate(runs)
    ]
    rows, undefined = _tabulate(runs)
    script = (_FOLDER / 'page.js').read_text(encoding='utf-8')
    digest = hashlib.sha256(script.encode()).digest()
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True)
    return environment.get_template('page.html').render(
        title=printable(title),
        version=__version__,
        runs=shown,
        differences=[printable(text) for text in find_differences(runs)],
        rows=rows,
        undefined=undefined,
        plots=draw_plots(runs),
        side=SIDE,
        colors=_colors(),
        data=dict(
            runs=[run['data'] for run in shown], pictures=pictures.addresses),
        style=(_FOLDER / 'page.css').read_text(encoding='utf-8'),
        script=script,
        script_hash=base64.b64encode(digest).decode())


def _choose(run: Run, limit: int) -> list[Example]:
    predictions = run.predictions
    assert predictions is not None
    examples = {example.position: example for example in predictions.examples}
    if len(examples) <= limit:
        return list(examples.values())
    candidates = [
        Candidate(position, _kind(predictions, position),
                  float(predictions.scores[position])) for position in examples
    ]
    return [
        examples[image.position]
        for image in choose_examples(candidates, limit)
    ]


def _kind(predictions: Any, position: int) -> str | None:
    code = int(predictions.kinds[position])
    return predictions.defect_types[code - 1] if code else None


def _describe(run: Run, number: int, examples: Sequence[Example],
              pictures: Pictures) -> dict[str, Any]:
    """Collect what the template and the script show of a run."""
    shown: dict[str, Any] = dict(
        name=run.name,
        number=number,
        notes=[printable(note) for note in run.notes],
        conditions=printable(describe_conditions(run.conditions)),
        about='',
        data=None)
    predictions = run.predictions
    if predictions is None:
        return shown
    thresholds = find_thresholds(predictions)
    start = float(thresholds.values[thresholds.start])
    is_defective = predictions.is_defective
    counts = np.bincount(
        predictions.kinds,
        minlength=len(predictions.defect_types) + 1).tolist()
    types = [printable(name) for name in predictions.defect_types]
    scale = _scale(examples, predictions.about.get('pixel_threshold'))
    gallery = _gallery(run, examples, pictures, scale)
    faults = [
        pictures.faults[path] for path in dict.fromkeys(
            str(path) for example in examples for path in _files(run, example))
        if path in pictures.faults
    ]
    if faults:
        shown['notes'].append(
            f'{len(faults)} files could not be shown, for example: '
            f'{printable(faults[0])}')
    shown.update(
        about=_about(predictions.about),
        images=len(predictions),
        good=counts[0],
        defective=int(is_defective.sum()),
        shown=len(gallery),
        types=_types(run, types, counts[1:]),
        thresholds=thresholds,
        histogram=bin_scores(predictions.scores, is_defective, start),
        scale=scale,
        has_gaps=any((example.map == 0).any() for example in examples),
        has_maps=any(example.map.size for example in examples),
        data=dict(
            values=thresholds.values.tolist(),
            alarms=thresholds.alarms.tolist(),
            hits=thresholds.hits.tolist(),
            expected=None if thresholds.expected is None else
            thresholds.expected.round(5).tolist(),
            start=thresholds.start,
            origin=thresholds.start_text,
            types=types,
            counts=counts,
            has_masks=any(item['mask'] is not None for item in gallery),
            gallery=gallery))
    return shown


def _scale(examples: Sequence[Example], threshold: float | None) -> HeatScale:
    maps = [(example.scores(), example.range[1]) for example in examples]
    known = [(np.nanmean(scores), peak) for scores, peak in maps
             if np.isfinite(scores).any()]
    means, peaks = zip(*known) if known else ((), ())
    return HeatScale.of_maps(means, peaks, threshold)


def _colors(number: int = 17) -> list[str]:
    """Return the colors from cold to hot, evenly spaced, as in CSS."""
    return [
        '#{2:02x}{1:02x}{0:02x}'.format(*color)
        for color in HeatScale(0, 1).color_bar(number)
    ]


def _about(about: dict[str, Any]) -> str:
    parts = [
        about.get('method'),
        about.get('config'), ' '.join(
            str(about[key]) for key in ('data', 'category') if about.get(key)),
        dict(val='validation', test='test').get(str(about.get('split')))
    ]
    return printable(', '.join(str(part) for part in parts if part))


def _files(run: Run, example: Example) -> list[Path]:
    predictions = run.predictions
    assert predictions is not None
    # They are relative to the folder that the test was started from.
    folder = predictions.about.get('folder') or ''
    names = [predictions.paths[example.position], example.mask_path]
    return [Path(folder, name) for name in names if name is not None]


def _gallery(run: Run, examples: Sequence[Example], pictures: Pictures,
             scale: HeatScale) -> list[dict[str, Any]]:
    predictions = run.predictions
    assert predictions is not None
    names, p_values = run.image_names, predictions.p_values
    gallery = []
    for example in show_progress(
            examples, f'Drawing {run.name}', enable=bool(examples)):
        place = example.position
        image, *masks = _files(run, example)
        kind = int(predictions.kinds[place])
        gallery.append(
            dict(
                name=printable(names[place]),
                kind=kind,
                score=float(predictions.scores[place]),
                p=None if p_values is None else float(p_values[place]),
                image=pictures.add_image(image),
                heat=pictures.add_heat(example, image, scale),
                mask=pictures.add_mask(masks[0]) if masks and kind else None))
    return gallery


def _types(run: Run, types: Sequence[str],
           counts: Sequence[int]) -> dict[str, Any]:
    """Make the table of defect types, whose hits the script fills in."""
    assert run.predictions is not None
    values = [
        sort_metrics(run.per_defect_type.get(name, {}))
        for name in run.predictions.defect_types
    ]
    # The verdicts are counted at the threshold of the slider.
    names = [
        name for name in (*IMAGE_METRICS, *PIXEL_METRICS, *SATURATED_METRICS)
        if any(name in row for row in values)
    ]
    return dict(
        titles=[_TITLES[name] for name in names],
        rows=[(name, count,
               [short_value(key, row.get(key), ' %') for key in names])
              for name, count, row in zip(types, counts, values)])


def _tabulate(
        runs: Sequence[Run]) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Make the table of metrics.

    Returns:
        tuple: Name and text for each run, of each metric; and the names of
        those that no run defines.
    """
    merged: dict[str, Any] = {}
    for run in runs:
        merged = {**run.metrics, **merged}
    rows, undefined = [], []
    for name in sort_metrics(merged):
        title = printable(_TITLES.get(name, name))
        values = [run.metrics.get(name) for run in runs]
        if all(value in (None, UNDEFINED) for value in values):
            undefined.append(title)
        elif any(map(is_table_value, values)):
            rows.append(
                (title,
                 [printable(short_value(name, one, ' %')) for one in values]))
    return rows, undefined
