import pytest
import torch

from mmad.models import KnowledgeLoss


def test_known_values():
    loss = KnowledgeLoss()
    a = torch.tensor([[1., 2.], [3., 4.]])
    assert loss(a, a) == 0
    # (1 + 4 + 0 + 9) over two patches.
    assert float(loss(a, torch.tensor([[0., 4.], [3., 1.]]))) == 7


def test_float32_in_half_precision():
    a = torch.full((2, 512), 30, dtype=torch.float16)
    assert float(KnowledgeLoss()(a, -a)) == pytest.approx(512 * 3600)
