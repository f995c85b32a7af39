import pytest
import torch
from torch import nn

from mmad.errors import InputError
from mmad.models.layers.affine import invert_affine, warp
from mmad.models.layers.coarse_alignment import align_stages, check_backbone


class Shift(nn.Module):
    """A transformer that always shifts by the same share of the width."""

    def __init__(self, share):
        super().__init__()
        self.matrix = torch.eye(3)[None]
        self.matrix[:, 0, 2] = 2 * share

    def forward(self, inputs):
        matrix = self.matrix.expand(len(inputs), 3, 3)
        return warp(inputs, matrix), matrix


class Steps(nn.Module):
    stages = ('one', 'two')

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential()
        self.body.add_module('one', nn.AvgPool2d(2))
        self.body.add_module('two', nn.AvgPool2d(2))

    def forward(self, inputs):
        one = self.body.one(inputs)
        return one, self.body.two(one)


@pytest.fixture
def inputs():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_without_transformers_nothing_moves(inputs):
    aligned = align_stages(inputs, None, Steps(), None)
    one, two = Steps()(inputs)
    assert aligned.frame is None
    for levels in (aligned.in_last_frame(), aligned.in_image_frame()):
        assert torch.equal(levels[0], one)
        assert torch.equal(levels[1], two)


def test_each_stage_sees_what_the_one_before_has_moved(inputs):
    fca = nn.ModuleDict(dict(one=Shift(0.25), two=Shift(0.125)))
    image, matrix = Shift(-0.25)(inputs)
    aligned = align_stages(image, matrix, Steps(), fca)
    one = Steps().body.one(image)
    two = Steps().body.two(warp(one, fca['one'].matrix.expand(2, 3, 3)))
    torch.testing.assert_close(aligned.maps['one'], one)
    torch.testing.assert_close(aligned.maps['two'], two)
    torch.testing.assert_close(aligned.moved['two'],
                               warp(two, fca['two'].matrix.expand(2, 3, 3)))
    # Shifts add up: -0.25 + 0.25 + 0.125 of the width.
    torch.testing.assert_close(aligned.frame,
                               Shift(0.125).matrix.expand(2, 3, 3))
    torch.testing.assert_close(aligned.stages_frame,
                               Shift(0.375).matrix.expand(2, 3, 3))
    torch.testing.assert_close(aligned.in_image_frame()[0],
                               warp(one, invert_affine(matrix)))


def test_backbones_without_steps():
    check_backbone(Steps())
    with pytest.raises(InputError, match='not possible in Linear'):
        check_backbone(nn.Linear(1, 1))
    backward = Steps()
    backward.stages = ('two', 'one')
    with pytest.raises(InputError, match='must be in its order'):
        check_backbone(backward)
