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
    found = [run.conditions.get('fpr_limit') for run in runs]
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
    ]
    for number, (run, limit) in enumerate(zip(runs, limits)):
        for plot, path in zip(plots, _paths(run, limit, end)):
            if path:
                plot.lines.append((number, path))
    return [plot for plot in plots if plot.lines]


def _paths(run: Run, limit: float, end: float) -> list[str]:
    predictions = run.predictions
    if predictions is None:
        return []
    ranking = rank(predictions.scores, predictions.is_defective)
    images = curves(thin(ranking, 1.0))
    paths = [roc_path(images), pr_path(images)]
    if predictions.pixel_ranking is not None:
        pixels = curves(predictions.pixel_ranking)
        paths += [
            roc_path(pixels),
            pr_path(pixels),
            pro_path(pixels, limit, end)
        ]
    return paths
