import numpy as np
from report_folders import draw_scores

from mmad.visualization.report.score_bins import bin_scores


def test_each_image_is_in_one_bin():
    scores, kinds = draw_scores(300, 100)
    found = bin_scores(scores, kinds > 0, 2.5)
    assert sum(found.normal) == 300
    assert sum(found.defective) == 100
    assert (found.low, found.high) == (scores.min(), scores.max())
    assert found.beyond == 0


def test_far_outliers_leave_room_for_the_threshold():
    scores, kinds = draw_scores(300, 100)
    scores[-2:] = 1e6
    found = bin_scores(scores, kinds > 0, 2.5)
    assert found.high < 30
    assert found.beyond == 2
    assert sum(found.defective) == 100


def test_the_axis_reaches_the_threshold():
    scores = np.ones(4, np.float32)
    for threshold in (-3.0, 1.0, 7.5):
        found = bin_scores(scores, np.zeros(4, bool), threshold)
        assert found.low <= threshold <= found.high
        assert found.low < found.high
        assert sum(found.normal) == 4
        for place, label in found.ticks:
            value = found.low + place * (found.high - found.low)
            assert abs(float(label) - value) < 1e-6
