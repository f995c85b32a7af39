"""Describe predictions in plain values, for files."""
from contextlib import suppress
from typing import Any

import numpy as np

from mmad.errors import InputError
from mmad.structures import AnomalyDataSample


def make_record(sample: AnomalyDataSample) -> dict:
    """Describe the prediction of an image in values that JSON can store.

    Args:
        sample (AnomalyDataSample): Sample of an inferencer.

    Returns:
        dict: With the keys ``path``; ``frame``, the position in a video;
        ``score``, ``p_value``; ``label``, which is ``'good'``,
        ``'defective'`` or ``'error'``; ``threshold`` for the score;
        ``regions``, a list of dicts as in :class:`~mmad.structures.Region`;
        and ``error``, the reason why there is no prediction. What is not
        known is None.
    """
    record = dict(
        path=sample.get('img_path'),
        frame=sample.get('frame_index'),
        score=None,
        p_value=None,
        label=None,
        threshold=_plain(sample.get('image_threshold')),
        regions=None,
        error=sample.get('error'))
    if record['error'] is not None:
        return dict(record, label='error', threshold=None)
    record['score'] = _plain(sample.pred_score)
    if 'p_value' in sample:
        record['p_value'] = _plain(sample.p_value)
    if 'pred_label' in sample:
        record['label'] = 'defective' if sample.pred_label else 'good'
    if sample.get('pixel_threshold') is not None:
        with suppress(InputError):  # the pipeline rotated the image
            record['regions'] = [
                dict(region.as_dict(), score=_plain(region.score))
                for region in sample.find_regions()
            ]
    return record


def judge(sample: AnomalyDataSample, image: float,
          pixel: float | None) -> None:
    """Judge a sample at given thresholds, as ``BaseDetector.predict`` does.

    Args:
        sample (AnomalyDataSample): Sample with a prediction.
        image (float): Threshold for the score.
        pixel (float, optional): Threshold for the map; None judges no pixels.
    """
    sample.pred_label = sample.pred_score > image
    if pixel is not None:
        sample.pred_mask = sample.pred_map > pixel
    sample.set_metainfo(
        dict(
            image_threshold=image,
            pixel_threshold=pixel,
            false_alarm_rate=None))


def _plain(number: Any) -> float | None:
    """Return the shortest number that float32 reads as the same."""
    return None if number is None else float(str(np.float32(number)))
