import pytest
import torch

from mmad.models import MeanTransformLoss
from mmad.models.layers import SpatialTransformer, invert_affine


def shifts(*values):
    matrices = torch.eye(3).repeat(len(values), 1, 1)
    matrices[:, 0, 2] = torch.tensor(values)
    return matrices


def test_opposite_moves_are_free(images):
    loss = MeanTransformLoss()(shifts(0.2, -0.3, 0.1))
    assert loss == pytest.approx(0, abs=1e-12)
    assert MeanTransformLoss()(shifts(0.0)) == 0
    torch.manual_seed(0)
    transformer = SpatialTransformer(3, 'affine')
    torch.nn.init.normal_(transformer.linear[-1].weight, std=0.6)
    matrices = transformer.locate(images)
    assert MeanTransformLoss()(matrices) > 1e-3
    both = torch.cat([matrices, invert_affine(matrices)])
    assert MeanTransformLoss()(both).item() == pytest.approx(0, abs=1e-10)


def test_common_moves_cost_their_square():
    loss = MeanTransformLoss(5.0)(shifts(0.1, 0.3))
    assert float(loss) == pytest.approx(0.2)
    angle = torch.tensor(0.3)
    turn = torch.eye(3)
    turn[:2, :2] = torch.tensor([[angle.cos(), -angle.sin()],
                                 [angle.sin(), angle.cos()]])
    assert float(MeanTransformLoss(1.0)(turn[None])) == pytest.approx(
        2 * angle.sin().square())
    scale = torch.diag(torch.tensor([1.25, 1.25, 1.0]))
    assert float(MeanTransformLoss(1.0)(scale[None])) == pytest.approx(
        2 * ((1.25 - 0.8) / 2)**2)
