import torch

from mmad.models.layers.pyramid import to_grid


def test_coarse_cells_are_repeated():
    coarse = torch.randn(2, 5, 2, 3)
    fine = to_grid(coarse, (4, 6))
    assert fine.shape == (2, 5, 4, 6)
    for row in range(4):
        for column in range(6):
            assert torch.equal(fine[:, :, row, column], coarse[:, :, row // 2,
                                                               column // 2])


def test_same_grid():
    level = torch.randn(2, 5, 2, 3)
    assert to_grid(level, level.shape[-2:]) is level


def test_sides_that_do_not_divide():
    fine = to_grid(torch.arange(12.).view(1, 1, 3, 4), (5, 7))
    assert fine[0, 0, :, 0].tolist() == [0, 0, 4, 4, 8]
