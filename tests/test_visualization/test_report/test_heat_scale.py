import numpy as np
import pytest

from mmad.evaluation.example import Example
from mmad.structures import AnomalyDataSample
from mmad.visualization.report.heat_scale import HeatScale


def example(scores):
    sample = AnomalyDataSample(metainfo=dict(ori_shape=scores.shape))
    sample.pred_map = scores.astype(np.float32)
    return Example.of(sample.to_dict(), 0)


def test_scale_puts_the_threshold_below_its_middle():
    maps = [example(np.full((4, 4), value)) for value in (1.0, 2.0, 9.0)]
    scale = HeatScale.of(maps, 4.0)
    assert (scale.low, scale.high) == (2.0, pytest.approx(7.0))
    assert HeatScale.of(maps, None).high == pytest.approx(8.72)
    assert HeatScale.of([], None) == HeatScale(0.0, 1.0, None)
