from dataclasses import dataclass
from typing import Any

import numpy as np

from mmad.evaluation.functional import best_f1, rank
from mmad.evaluation.predictions import Predictions

from .preset import Preset

_MAX_STEPS = 1000
_MAX_COUNTS = 50_000


@dataclass
class Thresholds:
    """The thresholds of a slider, with what each does to the images.

    What scores above a threshold is anomalous. Without a limit there is one
    threshold for each way to divide the images; of many, some are left out,
    and the counts at the others stay exact.

    Attributes:
        values (np.ndarray): ``(K,)`` float64, ascending.
        alarms (np.ndarray): ``(K,)`` normal images above.
        hits (np.ndarray): ``(T, K)`` defective images above, by type.
        expected (np.ndarray, optional): ``(K,)`` false-alarm rates that the
            calibration promises.
        presets (list[Preset]): Thresholds with names.
        start (int): Position of the threshold to start with.
        start_text (str): Which it is.
    """

    values: np.ndarray
    alarms: np.ndarray
    hits: np.ndarray
    expected: np.ndarray | None
    presets: list[Preset]
    start: int
    start_text: str


def find_thresholds(predictions: Predictions,
                    max_steps: int = _MAX_STEPS) -> Thresholds:
    """Find the thresholds for a slider.

    Args:
        predictions (Predictions): Of at least one image.
        max_steps (int): Largest number of thresholds, not counting those with
            a name. Defaults to 1000, and less with many defect types.
    """
    scores = predictions.scores.astype(np.float64)
    is_defective = predictions.is_defective
    normal = np.sort(scores[~is_defective])
    defective = np.sort(scores[is_defective])
    distinct = np.unique(scores)
    # Threshold k is below the scores from number k on.
    values = np.append(distinct - _gap(distinct), distinct[-1])
    values[1:-1] = (distinct[1:] + distinct[:-1]) / 2
    named = _named(predictions, distinct, normal, defective)
    calibrated = predictions.about.get('image_threshold')
    if calibrated is not None:
        values[named[0].step] = calibrated
    num_types = len(predictions.defect_types)
    max_steps = min(max_steps, max(100, _MAX_COUNTS // (num_types + 1)))
    kept = _spread(values, normal, defective, max_steps)
    kept = np.union1d(kept, [preset.step for preset in named])
    for preset in named:
        preset.step = int(np.searchsorted(kept, preset.step))
    values = values[kept]
    hits = [
        _above(np.sort(scores[predictions.kinds == kind]), values)
        for kind in range(1, num_types + 1)
    ]
    calibration = predictions.about.get('calibration_scores')
    expected = None
    if calibration:
        above = _above(np.sort(np.array(calibration)), values)
        expected = (above + 1) / (len(calibration) + 1)
    start, text = _start(named, normal, defective)
    return Thresholds(values, _above(normal, values),
                      np.array(hits, np.int64).reshape(num_types, values.size),
                      expected, named, start, text)


def _gap(distinct: np.ndarray) -> float:
    return float(distinct[-1] - distinct[0]) / 100 or 1.0


def _above(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    return ascending.size - np.searchsorted(ascending, values, side='right')


def _named(predictions: Predictions, distinct: np.ndarray, normal: np.ndarray,
           defective: np.ndarray) -> list[Preset]:
    presets = []
    about = predictions.about
    threshold = about.get('image_threshold')
    if threshold is not None:
        place = np.searchsorted(distinct, threshold, side='right')
        presets.append(Preset('Calibrated', _origin(about), int(place)))
    if normal.size and defective.size:
        ranking = rank(predictions.scores, predictions.is_defective)
        place = np.searchsorted(distinct, best_f1(ranking)[1])
        presets.append(
            Preset(
                'Best F1', 'the highest F1, chosen with the labels of these '
                'images: too good to be true for new ones', int(place)))
    if defective.size:
        place = np.searchsorted(distinct, defective[0])
        presets.append(
            Preset('No misses', 'all defective images are found', int(place)))
    if normal.size:
        place = np.searchsorted(distinct, normal[-1], side='right')
        presets.append(
            Preset('No false alarms', 'all good images pass', int(place)))
    return presets


def _origin(about: dict[str, Any]) -> str:
    number = about.get('calibration_images')
    images = (
        '' if number is None else
        f' on {number} normal image{"s" * (number != 1)} left out of the fit')
    rate = about.get('false_alarm_rate')
    if rate is not None:
        return f'calibrated{images}, for {100 * rate:.2g} % false alarms'
    kind = about.get('threshold_kind')
    origins = dict(
        best_f1='the highest F1 on labeled images', given='given by the user')
    return origins.get(str(kind), 'stored with the model')


def _start(named: list[Preset], normal: np.ndarray,
           defective: np.ndarray) -> tuple[int, str]:
    first = named[0]
    if first.name == 'Calibrated':
        return first.step, first.text
    text = f'the model has no calibrated threshold; this is {first.text}'
    if not defective.size:
        text = ('the model has no calibrated threshold; this is the highest '
                'score of these good images')
    return first.step, text


def _spread(values: np.ndarray, normal: np.ndarray, defective: np.ndarray,
            number: int) -> np.ndarray:
    """Choose thresholds that divide both kinds of images evenly."""
    if values.size <= number:
        return np.arange(values.size)
    kept = [np.array([0, values.size - 1])]
    for part in (normal, defective):
        if part.size:
            places = np.linspace(0, part.size - 1, number // 2).round()
            kept.append(np.searchsorted(values, part[places.astype(int)]))
    return np.unique(np.minimum(np.concatenate(kept), values.size - 1))
