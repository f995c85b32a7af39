"""Thresholds after a fit has taken in images, or lost some."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmad.models.layers.decision import Decision

from .fitted_images import find_fitted
from .model_updater import ModelUpdater, Paths

# How far apart two computations of one score may be.
_SAME = 1e-3


class Calibration(NamedTuple):
    """The scores that a decision was calibrated with, and what it said.

    Attributes:
        scores (Tensor): ``(n,)``, of normal images, on the CPU.
        peaks (Tensor): ``(n,)``, the largest values of their maps.
        conditions (dict): See :class:`~mmad.models.layers.Decision`.
        thresholds (tuple[float, float]): For image scores and maps.
    """
    scores: Tensor
    peaks: Tensor
    conditions: dict
    thresholds: tuple[float, float]

    @property
    def left_out(self) -> bool:
        """Whether the images were in the fit, and each left out."""
        return self.conditions.get('calibration') == 'leave_one_out'


def read_decision(decision: Decision) -> Calibration | None:
    """Copy what a decision was calibrated with; None if it was not."""
    if not decision.is_fitted:
        return None
    image, pixel = decision.thresholds.tolist()
    return Calibration(decision.scores.cpu(), decision.peaks.cpu(),
                       decision.conditions, (image, pixel))


def remove_scores(calibration: Calibration, scores: Tensor,
                  peaks: Tensor) -> Calibration:
    """Remove the scores of images that were left out of the same fit.

    Those that are not found, since not all images were scored, are ignored.

    Args:
        calibration (Calibration): What the decision was calibrated with.
        scores (Tensor): ``(m,)``, of the images.
        peaks (Tensor): ``(m,)``, the largest values of their maps.
    """
    return calibration._replace(
        scores=_remove(calibration.scores, scores),
        peaks=_remove(calibration.peaks, peaks))


def _remove(values: Tensor, removed: Tensor) -> Tensor:
    for value in removed:
        distances = (values - value).abs()
        if len(values) and distances.min() <= _SAME * value.abs():
            nearest = int(distances.argmin())
            values = torch.cat([values[:nearest], values[nearest + 1:]])
    return values


def score_all(updater: ModelUpdater, paths: Paths,
              names: Sequence[str]) -> tuple[Tensor, Tensor, str]:
    """Score normal images, those in the fit as if they had not been.

    Args:
        updater (ModelUpdater): Has the detector.
        paths (Paths): The images.
        names (Sequence[str]): Paths of those in the fit.

    Returns:
        tuple: Scores ``(n,)``, the largest values of the maps ``(n,)``, and
        the method of the calibration.
    """
    numbers = find_fitted(paths, names)
    fitted = [i for i in numbers if i is not None]
    inside = [p for p, i in zip(paths, numbers) if i is not None]
    outside = [p for p, i in zip(paths, numbers) if i is None]
    parts = [updater.score(inside, fitted), updater.score(outside)]
    scores, peaks = (torch.cat(values) for values in zip(*parts))
    return scores, peaks, 'leave_one_out' if fitted else 'held_out'


def decide(decision: Decision,
           calibration: Calibration,
           rate: float | None = None) -> None:
    """Calibrate a decision, and set the thresholds in the way they were.

    Args:
        decision (Decision): Is calibrated.
        calibration (Calibration): Scores, and what was said before.
        rate (float, optional): Wanted false-alarm rate. Defaults to None:
            the one before; where thresholds were given, these are kept.
    """
    said = calibration.conditions
    wanted = rate or said.get('false_alarm_rate')
    decision.calibrate(calibration.scores, calibration.peaks, wanted or 0.01,
                       said['calibration'])
    if wanted is None:
        decision.set_thresholds(*calibration.thresholds,
                                said['threshold_kind'])
