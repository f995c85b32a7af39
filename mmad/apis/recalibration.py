"""Thresholds after a fit has taken in images, or lost some."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmad.errors import InputError
from mmad.models.layers.decision import Decision

from .fitted_images import find_fitted
from .model_updater import ModelUpdater, Paths


class Calibration(NamedTuple):
    """The scores that a decision was calibrated with, and what it said.

    Attributes:
        numbers (Tensor): ``(n,)``, of the normal images in the fit; -1 for
            those that are not in there.
        scores (Tensor): ``(n,)``, of these images.
        peaks (Tensor): ``(n,)``, the largest values of their maps.
        conditions (dict): See :class:`~mmad.models.layers.Decision`.
        thresholds (tuple[float, float]): For image scores and maps.
    """
    numbers: Tensor
    scores: Tensor
    peaks: Tensor
    conditions: dict
    thresholds: tuple[float, float]

    def without(self, ids: Sequence[int]) -> 'Calibration':
        """Take out images of the fit; those behind them move up."""
        gone = torch.tensor(sorted(ids), dtype=torch.int64)
        kept = ~torch.isin(self.numbers, gone)
        numbers = self.numbers - torch.searchsorted(gone, self.numbers)
        return self._replace(
            numbers=numbers[kept],
            scores=self.scores[kept],
            peaks=self.peaks[kept])

    def with_images(self, numbers: Sequence[int], scores: Tensor,
                    peaks: Tensor) -> 'Calibration':
        """Add images of the fit, each left out of it."""
        if not len(numbers):
            return self
        return self._replace(
            numbers=torch.cat([self.numbers,
                               torch.tensor(list(numbers))]),
            scores=torch.cat([self.scores, scores]),
            peaks=torch.cat([self.peaks, peaks]),
            # The weaker of both statements.
            conditions=dict(self.conditions, calibration='leave_one_out'))


def read_decision(decision: Decision) -> Calibration | None:
    """Copy what a decision was calibrated with; None if it was not."""
    if not decision.is_fitted:
        return None
    numbers, scores, peaks = (part.cpu() for part in decision.by_image())
    image, pixel = decision.thresholds.tolist()
    return Calibration(numbers, scores, peaks, decision.conditions,
                       (image, pixel))


def score_all(updater: ModelUpdater, paths: Paths, names: Sequence[str],
              before: Calibration | None) -> Calibration:
    """Score normal images, those in the fit as if they had not been.

    Args:
        updater (ModelUpdater): Has the detector.
        paths (Paths): The images.
        names (Sequence[str]): Paths of those in the fit.
        before (Calibration, optional): Where the wanted rate and given
            thresholds come from. None without one.

    Raises:
        InputError: It is not known which images are in the fit.
    """
    if not names:
        raise InputError(
            'the checkpoint does not name the images that it was fitted to, '
            'so thresholds cannot be found from a folder that may hold some '
            'of them; fit again.')
    numbers = find_fitted(paths, names)
    inside = [(i, p) for i, p in zip(numbers, paths) if i is not None]
    outside = [p for i, p in zip(numbers, paths) if i is None]
    fitted = [i for i, _ in inside]
    parts = [
        updater.score([p for _, p in inside], fitted),
        updater.score(outside)
    ]
    scores, peaks = (torch.cat(values) for values in zip(*parts))
    said = dict(before.conditions if before is not None else {})
    said.update(calibration='leave_one_out' if fitted else 'held_out')
    return Calibration(
        torch.tensor(fitted + [-1] * len(outside)), scores, peaks, said,
        before.thresholds if before is not None else (0, 0))


def decide(decision: Decision,
           calibration: Calibration,
           rate: float | None = None) -> None:
    """Calibrate a decision, and set the thresholds in the way they were.

    Args:
        decision (Decision): Is calibrated.
        calibration (Calibration): Scores, and what was said before.
        rate (float, optional): Wanted false-alarm rate. Defaults to None:
            the one that was asked for before, also if there were too few
            images for it; where thresholds were given, these are kept.
    """
    said = calibration.conditions
    asked = said.get('requested_rate') or said.get('false_alarm_rate')
    is_given = rate is None and said.get('threshold_kind',
                                         'conformal') != 'conformal'
    decision.calibrate(calibration.scores, calibration.peaks, rate or asked
                       or 0.01, said['calibration'],
                       calibration.numbers.tolist())
    if is_given:
        decision.set_thresholds(*calibration.thresholds,
                                said['threshold_kind'])
