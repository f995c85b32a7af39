import pytest
import torch

from mmad.apis.recalibration import (
    Calibration,
    decide,
    read_decision,
    score_all,
)
from mmad.errors import InputError
from mmad.models.layers.decision import Decision

SCORES = torch.tensor([5.0, 1, 4, 2, 3])
PEAKS = torch.tensor([1.0, 4, 3, 5, 2])


def make_decision(rate=0.4, numbers=(0, 1, 2, 3, 4)):
    decision = Decision()
    decision.calibrate(SCORES, PEAKS, rate, 'held_out', list(numbers))
    return decision


class Updater:
    """Scores an image by the name of its file, and notes what it got."""

    def __init__(self):
        self.calls = []

    def score(self, paths, numbers=None):
        self.calls.append((paths, numbers))
        scores = torch.tensor([float(path[-1]) for path in paths])
        return scores, 10 * scores


def test_what_a_decision_was_calibrated_with():
    decision = make_decision()
    found = read_decision(decision)
    assert found.numbers.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(found.scores, SCORES)
    assert torch.equal(found.peaks, PEAKS)
    assert found.thresholds == tuple(decision.thresholds.tolist())
    assert found.conditions == decision.conditions
    assert read_decision(Decision()) is None


def test_images_taken_out():
    before = read_decision(make_decision(numbers=[0, -1, 3, 6, 7]))
    assert before.numbers.tolist() == [-1, 0, 3, 6, 7]
    after = before.without([6, 1, 0])
    assert after.numbers.tolist() == [-1, 1, 4]
    places = [0, 2, 4]
    assert torch.equal(after.scores, before.scores[places])
    assert torch.equal(after.peaks, before.peaks[places])
    assert len(before.numbers) == 5
    assert before.without([]).numbers.tolist() == before.numbers.tolist()


def test_images_added():
    before = read_decision(make_decision())
    after = before.with_images([5, 6], torch.tensor([9.0, 8]),
                               torch.tensor([7.0, 6]))
    assert after.numbers.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert after.scores.tolist() == [*SCORES.tolist(), 9, 8]
    assert after.peaks.tolist() == [*PEAKS.tolist(), 7, 6]
    assert before.conditions['calibration'] == 'held_out'
    assert after.conditions['calibration'] == 'leave_one_out'
    assert before.with_images([], SCORES[:0], PEAKS[:0]) is before


def test_images_in_the_fit_are_left_out():
    updater = Updater()
    before = read_decision(make_decision())
    found = score_all(updater, ['/n/7', '/n/3', '/n/8', '/n/0'],
                      [f'/n/{number}' for number in range(5)], before)
    assert updater.calls == [(['/n/3', '/n/0'], [3, 0]),
                             (['/n/7', '/n/8'], None)]
    assert found.numbers.tolist() == [3, 0, -1, -1]
    assert found.scores.tolist() == [3, 0, 7, 8]
    assert found.peaks.tolist() == [30, 0, 70, 80]
    assert found.conditions == dict(
        before.conditions, calibration='leave_one_out')
    assert found.thresholds == before.thresholds


def test_images_that_are_not_in_the_fit():
    found = score_all(Updater(), ['/n/7', '/n/8'], ['/n/0'], None)
    assert found.numbers.tolist() == [-1, -1]
    assert found.conditions == dict(calibration='held_out')
    with pytest.raises(InputError, match='does not name the images'):
        score_all(Updater(), ['/n/7'], [], None)


def calibration(**conditions):
    conditions.setdefault('calibration', 'held_out')
    return Calibration(torch.arange(5), SCORES, PEAKS, conditions, (3.5, 4.5))


@pytest.mark.parametrize(('said', 'rate', 'expected'), [
    (dict(false_alarm_rate=0.4), None, 0.4),
    (dict(false_alarm_rate=0.4), 0.2, 0.2),
    (dict(false_alarm_rate=0.4, requested_rate=0.25), None, 0.25),
    (dict(false_alarm_rate=None), None, 0.01),
    (dict(), None, 0.01),
])
def test_the_rate(said, rate, expected):
    decision = Decision()
    decide(decision, calibration(**said), rate)
    assert decision.conditions['requested_rate'] == expected
    other = Decision()
    other.calibrate(SCORES, PEAKS, expected, 'held_out', range(5))
    assert torch.equal(decision.thresholds, other.thresholds)
    for one, two in zip(decision.by_image(), other.by_image()):
        assert torch.equal(one, two)


def test_given_thresholds():
    said = calibration(threshold_kind='given', false_alarm_rate=None)
    decision = Decision()
    decide(decision, said)
    assert decision.thresholds.tolist() == [3.5, 4.5]
    assert decision.conditions['threshold_kind'] == 'given'
    # Until a rate is wanted.
    decide(decision, said, 0.4)
    assert decision.conditions['threshold_kind'] == 'conformal'
    # The 4th of 5: ceil(6 * 0.6).
    assert decision.thresholds.tolist() == [4, 4]
