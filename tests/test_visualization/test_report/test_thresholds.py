import numpy as np
import pytest
from report_folders import TYPES, draw_scores
from sklearn.metrics import confusion_matrix, f1_score

from mmad.evaluation.predictions import Predictions
from mmad.visualization.report.thresholds import find_thresholds


def predict(scores, kinds, **about):
    paths = [f'{place}.png' for place in range(len(scores))]
    return Predictions(paths, scores, kinds, TYPES, about=about)


@pytest.mark.parametrize('number', [3, 200, 5000])
def test_counts_are_those_of_scikit_learn(number):
    scores, kinds = draw_scores(2 * number, number)
    found = find_thresholds(
        predict(scores, kinds, image_threshold=2.4), max_steps=200)
    assert len(found.values) <= 210
    assert (np.diff(found.values) > 0).all()
    for step, value in enumerate(found.values):
        (tn, fp), (_, tp) = confusion_matrix(
            kinds > 0, scores > value, labels=[False, True])
        assert (found.alarms[step], tn) == (fp, 2 * number - fp)
        assert found.hits[:, step].sum() == tp


def test_one_threshold_for_each_way_to_divide_the_images():
    scores, kinds = draw_scores()
    values = find_thresholds(predict(scores, kinds)).values
    divisions = {tuple(scores > value) for value in values}
    assert len(divisions) == len(values) == len(np.unique(scores)) + 1


def test_calibrated_threshold_is_kept_as_it_is():
    scores, kinds = draw_scores()
    for threshold in (-1.0, 2.3333, float(scores[4]), 99.0):
        about = dict(
            image_threshold=threshold,
            false_alarm_rate=0.05,
            calibration_images=19,
            calibration_scores=[1.0] * 18 + [2.0])
        found = find_thresholds(predict(scores, kinds, **about))
        assert found.values[found.start] == threshold
        assert found.start_text == (
            'calibrated on 19 normal images left out of the fit, for 5 % '
            'false alarms')
        expected = np.array([
            (np.sum(np.array([1.0] * 18 + [2.0]) > value) + 1) / 20
            for value in found.values
        ])
        np.testing.assert_allclose(found.expected, expected)


def test_named_thresholds_do_what_they_say():
    scores, kinds = draw_scores()
    found = find_thresholds(predict(scores, kinds))
    steps = {preset.name: preset.step for preset in found.presets}
    assert found.hits[:, steps['No misses']].sum() == 15
    assert found.hits[:, steps['No misses'] + 1].sum() < 15
    assert found.alarms[steps['No false alarms']] == 0
    assert found.alarms[steps['No false alarms'] - 1] > 0
    f1 = [f1_score(kinds > 0, scores > value) for value in found.values]
    assert f1[steps['Best F1']] == max(f1)
    assert found.start == steps['Best F1']
    assert 'no calibrated threshold' in found.start_text


@pytest.mark.parametrize(('num_good', 'num_bad', 'name'),
                         [(6, 0, 'No false alarms'), (0, 6, 'No misses'),
                          (1, 0, 'No false alarms')])
def test_one_kind_of_images(num_good, num_bad, name):
    scores, kinds = draw_scores(num_good, num_bad)
    found = find_thresholds(predict(scores, kinds))
    assert [preset.name for preset in found.presets] == [name]
    assert found.alarms[0] == num_good
    assert found.alarms[-1] == 0
    assert found.expected is None
