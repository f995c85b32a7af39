"""Verdicts in words."""
from pathlib import PurePath
from typing import NamedTuple

from mmad.structures import AnomalyDataSample


class Verdict(NamedTuple):
    """What is to be said about an image.

    Attributes:
        word (str): ``'DEFECTIVE'`` or ``'good'``; empty without a threshold.
        outcome (str): Whether that is right, where it is known.
        numbers (str): Score, threshold and p-value.
        file (str): Name of the file and of its folder.
    """

    word: str
    outcome: str
    numbers: str
    file: str


def describe(sample: AnomalyDataSample) -> Verdict:
    """Put the prediction of an image into words.

    Args:
        sample (AnomalyDataSample): With what is known of ``pred_label``,
            ``pred_score``, ``p_value``, ``image_threshold``, ``gt_label``,
            ``defect_type``, ``img_path`` and ``sample_idx``.
    """
    word = ''
    if 'pred_label' in sample:
        word = 'DEFECTIVE' if sample.pred_label else 'good'
    path, index = sample.get('img_path'), sample.get('sample_idx')
    file = '' if index is None else f'image {index}'
    if path is not None:
        file = '/'.join(PurePath(str(path)).parts[-2:])
    return Verdict(word, _outcome(sample), _numbers(sample), file)


def _outcome(sample: AnomalyDataSample) -> str:
    label, kind = sample.get('gt_label'), sample.get('defect_type')
    if label is None and kind is None:
        return ''
    is_bad = kind != 'good' if label is None else bool(label)
    kind = 'defective' if kind in (None, 'good') else kind
    labeled = f'labeled {kind}' if is_bad else 'labeled good'
    if 'pred_label' not in sample:
        return labeled
    wrong = 'MISSED' if is_bad else 'FALSE ALARM'
    return (f'correct, {labeled}'
            if bool(sample.pred_label) == is_bad else f'{wrong}, {labeled}')


def _numbers(sample: AnomalyDataSample) -> str:
    if 'pred_score' not in sample:
        return ''
    score, threshold = float(sample.pred_score), sample.get('image_threshold')
    text = f'score {score:.4g}'
    if threshold is None:
        text += ', not calibrated'
    elif threshold > 0:
        ratio = score / threshold
        text += f' = {ratio:.2f} times the threshold {threshold:.4g}'
    else:
        text += f', threshold {threshold:.4g}'
    if 'p_value' in sample:
        text += f', p = {float(sample.p_value):.2g}'
    return text
