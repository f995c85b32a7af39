from collections.abc import Sequence
from dataclasses import dataclass

from mmad.evaluation.functional import curves, rank, thin

from .paths import pr_path, pro_path, roc_path
from .run import Run

_LIMIT = 0.3


@dataclass
class Plot:
    """Curves of several runs in one drawing.

    Attributes:
        key (str): Name for the script of the page.
        of (str): ``'images'`` or ``'pixels'``.
        title (str): What the curves are.
        x (str): Label of the horizontal axis.
        y (str): Label of the vertical axis.
        end (float): Right end of the horizontal axis, which begins at 0.
        lines (list[tuple[int, str]]): The position of each run, and its
            curve as a path of SVG.
    """

    key: str
    of: str
    title: str
    x: str
    y: str
    end: float
    lines: list[tuple[int, str]]


def draw_plots(runs: Sequence[Run]) -> list[Plot]:
    """Draw the curves of all runs, as far as they are defined."""
    found = [
        run.conditions.get(
            'spro_fpr_limit' if _is_saturated(run) else 'fpr_limit')
        for run in runs
    ]
    limits = [
        float(limit) if isinstance(limit, int | float) else _LIMIT
        for limit in found
    ]
    rate, end = 'false positive rate', max(limits)
    plots = [
        Plot('roc', 'images', 'ROC of images', 'false-alarm rate', 'recall', 1,
             []),
        Plot('pr', 'images', 'Precision and recall of images', 'recall',
             'precision', 1, []),
        Plot('pixel_roc', 'pixels', 'ROC of pixels', rate, 'recall', 1, []),
        Plot('pixel_pr', 'pixels', 'Precision and recall of pixels', 'recall',
             'precision', 1, []),
        Plot('pro', 'pixels', 'Per-region overlap (PRO)', rate, 'overlap', end,
             []),
        Plot('spro', 'pixels', 'Saturated per-region overlap (sPRO)', rate,
             'overlap', end, []),
    ]
    for number, (run, limit) in enumerate(zip(runs, limits)):
        paths = _paths(run, limit, end)
        for plot in plots:
            if paths.get(plot.key):
                plot.lines.append((number, paths[plot.key]))
    return [plot for plot in plots if plot.lines]


def _paths(run: Run, limit: float, end: float) -> dict[str, str]:
    predictions = run.predictions
    if predictions is None:
        return {}
    ranking = rank(predictions.scores, predictions.is_defective)
    images = curves(thin(ranking, 1.0))
    paths = dict(roc=roc_path(images), pr=pr_path(images))
    if predictions.pixel_ranking is not None:
        pixels = curves(predictions.pixel_ranking)
        paths.update(pixel_roc=roc_path(pixels), pixel_pr=pr_path(pixels))
        overlap = 'spro' if _is_saturated(run) else 'pro'
        paths[overlap] = pro_path(pixels, limit, end)
    return paths


def _is_saturated(run: Run) -> bool:
    """Whether the overlap of the ranked pixels is the saturated one."""
    return (run.predictions is not None
            and run.predictions.about.get('is_saturated', False))
