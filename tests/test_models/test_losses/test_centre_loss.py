import pytest
import torch

from mmad.models import CentreLoss


def shifts(*values):
    matrices = torch.eye(3).repeat(len(values), 1, 1)
    matrices[:, 0, 2] = torch.tensor(values)
    return matrices


def test_opposite_moves_are_free():
    assert CentreLoss()(shifts(0.2, -0.3, 0.1)) == pytest.approx(0, abs=1e-12)
    assert CentreLoss()(shifts(0.0)) == 0


def test_common_moves_cost_their_square():
    assert float(CentreLoss(5.0)(shifts(0.1, 0.3))) == pytest.approx(0.2)
