import pytest
import torch

from mmad.errors import InputError
from mmad.models import TripletLoss


def test_by_hand():
    anchors = torch.tensor([[0., 0.], [3., 0.]])
    positives = torch.tensor([[1., 0.], [3., 1.]])
    # Of the first, d+ = 1 and the other anchor is 9 from it but 4 from the
    # positive: max(0, 2 + 1 - 4) = 0. Of the second, d+ = 1 and 9 or 10.
    assert float(TripletLoss(2)(anchors, positives)) == 0
    # max(0, 6 + 1 - 4) = 3 and max(0, 6 + 1 - 9) = 0.
    assert float(TripletLoss(6)(anchors, positives)) == 1.5


def test_the_margin_is_left_where_all_are_the_same():
    same = torch.ones(4, 3)
    assert float(TripletLoss(0.25)(same, same)) == 0.25


def test_nothing_to_gain_from_far_negatives():
    anchors = 100 * torch.eye(5)
    assert float(TripletLoss()(anchors, anchors)) == 0


@pytest.mark.parametrize('margin', [0, -1])
def test_bad_margin(margin):
    with pytest.raises(InputError, match=f'above 0, got {margin}'):
        TripletLoss(margin)
