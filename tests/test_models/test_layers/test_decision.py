import math
from fractions import Fraction

import pytest
import torch

from mmad.errors import InputError
from mmad.models.layers import Decision


def calibrated(number, rate, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(number, generator=generator)
    decision = Decision()
    decision.calibrate(scores, 2 * scores, rate, 'held_out')
    return decision, scores


@pytest.mark.parametrize('number', [1, 2, 9, 19, 99, 100, 101, 500])
@pytest.mark.parametrize('rate', [0.01, 0.05, 0.1, 0.3, 0.5, 0.9])
class TestThreshold:

    def test_is_the_conformal_quantile(self, number, rate):
        decision, scores = calibrated(number, rate)
        exact = max(
            Fraction(rate).limit_denominator(1000), Fraction(1, number + 1))
        place = math.ceil((number + 1) * (1 - exact))
        expected = scores.sort().values[place - 1]
        assert decision.thresholds.tolist() == [expected, 2 * expected]
        assert decision.conditions['false_alarm_rate'] == pytest.approx(
            float(exact))

    def test_labels_are_small_p_values(self, number, rate):
        decision, scores = calibrated(number, rate)
        new = torch.cat([torch.randn(200), scores])
        labels, _ = decision(new, new.view(-1, 1, 1, 1))
        effective = decision.conditions['false_alarm_rate']
        small = decision.p_values(new) <= effective + 1e-7
        assert labels.tolist() == small.tolist()


def test_p_values_count_normal_images():
    decision = Decision()
    scores = torch.tensor([3., 1., 2., 2.])
    decision.calibrate(scores, scores, 0.2, 'held_out')
    found = decision.p_values(torch.tensor([0., 1., 2., 2.5, 3., 4.]))
    assert found.tolist() == pytest.approx([1, 1, 0.8, 0.4, 0.4, 0.2])


def test_p_values_fall_with_the_score():
    decision, _ = calibrated(50, 0.1)
    found = decision.p_values(torch.linspace(-4, 4, 1000))
    assert (found.diff() <= 0).all()


def test_new_normal_images_are_above_as_often_as_wanted():
    above = []
    for seed in range(400):
        decision, _ = calibrated(99, 0.1, seed)
        generator = torch.Generator().manual_seed(10_000 + seed)
        new = torch.randn(50, generator=generator)
        above.append(decision(new, new.view(-1, 1, 1, 1))[0].float().mean())
    above = torch.stack(above)
    assert abs(above.mean() - 0.1) < 4 * above.std() / 20


def test_masks_leave_out_what_is_not_scored():
    decision, _ = calibrated(9, 0.1)
    maps = torch.full((1, 1, 2, 2), torch.inf)
    maps[..., 0] = torch.nan
    _, masks = decision(torch.zeros(1), maps)
    assert masks.tolist() == [[[[False, True], [False, True]]]]


def test_given_thresholds_have_no_rate():
    decision, _ = calibrated(9, 0.1)
    decision.set_thresholds(1.5, 2.5, 'given')
    assert decision.thresholds.tolist() == [1.5, 2.5]
    assert decision.conditions == dict(
        calibration='held_out',
        calibration_images=9,
        threshold_kind='given',
        false_alarm_rate=None,
        requested_rate=0.1)


def test_state_travels_in_a_state_dict():
    decision, _ = calibrated(30, 0.1)
    other = Decision()
    other.load_state_dict(decision.state_dict())
    assert other.conditions == decision.conditions
    assert other.thresholds.equal(decision.thresholds)


class TestRefuses:

    @pytest.mark.parametrize('rate', [0, 1, -0.1, float('nan'), 'high'])
    def test_rate(self, rate):
        with pytest.raises(InputError, match='false_alarm_rate'):
            calibrated(9, rate)

    @pytest.mark.parametrize('scores',
                             [[], [1., float('nan')], [float('inf')]])
    def test_scores(self, scores):
        scores = torch.tensor(scores)
        with pytest.raises(InputError, match='finite scores'):
            Decision().calibrate(scores, scores, 0.1, 'held_out')

    def test_rate_without_a_calibration(self):
        with pytest.raises(InputError, match='CalibrationHook'):
            Decision().set_false_alarm_rate(0.1)


def test_scores_know_their_images():
    decision = Decision()
    scores, peaks = torch.tensor([[3., 1., 2.], [4., 6., 5.]])
    decision.calibrate(scores, peaks, 0.3, 'leave_one_out', [7, 5, 2])
    numbers, by_number, peaks_by_number = decision.by_image()
    assert numbers.tolist() == [2, 5, 7]
    assert by_number.tolist() == [2, 1, 3]
    assert peaks_by_number.tolist() == [5, 6, 4]
    decision.calibrate(scores, peaks, 0.3, 'held_out')
    assert decision.by_image()[0].tolist() == [-1, -1, -1]


@pytest.mark.parametrize('name', ['scores', 'peaks', 'thresholds', 'images'])
def test_a_state_of_other_shapes_is_refused(name):
    state = calibrated(30, 0.1)[0].state_dict()
    for wrong in (state[name][None], state[name][:-1]):
        with pytest.raises(InputError, match=r'does not go with|not one of'):
            Decision().load_state_dict({**state, name: wrong})
