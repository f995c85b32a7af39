"""Lines of curves as paths of SVG, on a square of 300 units."""
import numpy as np

from mmad.evaluation.functional import Curves

SIDE = 300


def roc_path(curves: Curves) -> str:
    """Draw the ROC curve, from (0, 0) on."""
    return _path(np.append(0, curves.fpr), np.append(0, curves.recall), 1.0)


def pr_path(curves: Curves) -> str:
    """Draw the precision over the recall, with the steps of the AP."""
    recall = np.append(0, curves.recall)
    precision = np.append(curves.precision[:1], curves.precision)
    # The average precision counts each as far back as the recall before.
    steps = np.repeat(precision, 2)[1:]
    return _path(np.repeat(recall, 2)[:-1], steps, 1.0)


def pro_path(curves: Curves, limit: float, width: float) -> str:
    """Draw the per-region overlap up to a limit, on an axis of a width."""
    fpr = np.append(0, curves.fpr)
    overlap = np.append(0, curves.overlap)
    inside = fpr <= limit
    end = np.interp(limit, fpr, overlap)
    return _path(
        np.append(fpr[inside], limit), np.append(overlap[inside], end), width)


def _path(x: np.ndarray, y: np.ndarray, width: float) -> str:
    if not x.size or np.isnan(x).any() or np.isnan(y).any():
        return ''
    points = [
        f'{SIDE * float(right) / width:.4g} {SIDE * (1 - float(up)):.4g}'
        for right, up in zip(x, y)
    ]
    return 'M' + 'L'.join(dict.fromkeys(points))
