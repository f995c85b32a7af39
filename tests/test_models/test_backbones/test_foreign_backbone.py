import pytest
import torch
from torch import nn

from mmad.errors import InputError
from mmad.models import ForeignBackbone


class Network(nn.Module):
    """It returns what `form` makes of two maps, and trains when it likes."""

    def __init__(self, form=tuple, out_indices=None):
        super().__init__()
        self.fine = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4))
        self.coarse = nn.Sequential(
            nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.Dropout())
        self.form = form
        if out_indices is not None:
            self.out_indices = out_indices

    def forward(self, inputs):
        fine = self.fine(inputs)
        return self.form((fine, self.coarse(fine)))

    def train(self, mode=True):
        super().train(True)
        return self.requires_grad_(True)


def as_dict(maps):
    return dict(zip(('fine', 'coarse'), maps))


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 16, 24, generator=generator)


@pytest.mark.parametrize(('form', 'out_indices', 'stages'), [
    (tuple, None, ('stage0', 'stage1')),
    (list, None, ('stage0', 'stage1')),
    (tuple, (1, 3), ('stage1', 'stage3')),
    (list, [2, 5], ('stage2', 'stage5')),
    (as_dict, None, ('fine', 'coarse')),
])
def test_names_of_the_stages(images, form, out_indices, stages):
    network = Network(form, out_indices)
    backbone = ForeignBackbone(network)
    assert backbone.stages == stages
    assert backbone.channels == (4, 6)
    maps = backbone(images)
    assert isinstance(maps, tuple)
    fine = network.fine(images)
    assert torch.equal(maps[0], fine)
    assert torch.equal(maps[1], network.coarse(fine))


def test_stages_name_the_maps_of_a_tuple(images):
    backbone = ForeignBackbone(Network(), ['a', 'b'])
    assert backbone.stages == ('a', 'b')
    assert [len(level[0]) for level in backbone(images)] == [4, 6]


@pytest.mark.parametrize('stages', [['coarse'], ['coarse', 'fine']])
def test_stages_choose_from_a_dict(images, stages):
    backbone = ForeignBackbone(Network(as_dict), stages)
    own = dict(fine=4, coarse=6)
    assert backbone.channels == tuple(own[stage] for stage in stages)
    assert backbone.channels == tuple(level.shape[1]
                                      for level in backbone(images))


def test_keys_that_are_numbers(images):
    backbone = ForeignBackbone(Network(lambda maps: dict(enumerate(maps))))
    assert backbone.stages == ('0', '1')
    assert len(backbone(images)) == 2


@pytest.mark.parametrize('dtype', [torch.float16, torch.float64])
def test_maps_are_float32(images, dtype):
    backbone = ForeignBackbone(
        Network(lambda maps: [one.to(dtype) for one in maps]))
    assert all(level.dtype == torch.float32 for level in backbone(images))


def test_frozen_whatever_its_own_train_says():
    backbone = ForeignBackbone(Network())
    parent = nn.Sequential(backbone)
    for mode in (True, False, True):
        parent.train(mode)
        assert not any(module.training for module in backbone.modules())
        assert not any(p.requires_grad for p in backbone.parameters())
    backbone.unfreeze()
    assert any(p.requires_grad for p in backbone.parameters())
    assert not any(module.training for module in backbone.train().modules())


def test_name():
    backbone = ForeignBackbone(Network())
    assert backbone.name == 'test_foreign_backbone.Network'
    assert ForeignBackbone(Network(), name='mine').name == 'mine'


@pytest.mark.parametrize('stages', ['fine', [1, 2], ['a', 'a'], []])
def test_stages_must_be_names(stages):
    with pytest.raises(InputError, match='`stages` must'):
        ForeignBackbone(Network(), stages)


@pytest.mark.parametrize(('form', 'message'), [
    (lambda maps: maps[0], 'returns a tensor of the shape .*must return a '
     'tuple, a list or a dict'),
    (lambda maps: (), r'returns a tuple; it must'),
    (lambda maps: None, 'returns a NoneType; it must'),
    (lambda maps: maps[:1], 'returns 1 maps for the 2 `stages`'),
    (lambda maps: dict(a=maps[0], b=maps[1]), r"no \['x', 'y'\], only \['a'"),
    (lambda maps: [one.flatten(2).mT for one in maps],
     r'shape \(2, 96, 4\) for the stage "x" of 2 image.*not a map'),
    (lambda maps: [one.flatten(0, 1)[None] for one in maps],
     r'shape \(1, 8, 8, 12\) for the stage "x" of 2 image'),
    (lambda maps: [maps, maps], 'returns a tuple for the stage "x"'),
])
def test_what_is_no_maps(images, form, message):
    backbone = ForeignBackbone(Network(form), ['x', 'y'])
    with pytest.raises(InputError, match=message) as error:
        backbone(images)
    assert '\n' not in str(error.value)


def test_no_maps_without_stages():
    with pytest.raises(InputError, match='must return a tuple'):
        ForeignBackbone(Network(lambda maps: maps[0]))


def test_own_errors_keep_their_kind(images):

    def broken(maps):
        raise TypeError('a bug')

    with pytest.raises(TypeError, match='a bug'):
        ForeignBackbone(Network(broken))
    with pytest.raises(TypeError, match='a bug'):
        ForeignBackbone(Network(broken), ['x'])(images)


@pytest.mark.parametrize('size', [12, (12, 20), [12, 20]])
def test_size_that_the_network_says(size):
    network = Network()
    network.img_size = size
    seen = []
    network.form = lambda maps: seen.append(maps[0].shape) or maps
    # The copy that runs without numbers has the same list in its closure.
    assert ForeignBackbone(network, ['a', 'b']).channels == (4, 6)
    assert seen[0][2:] == ((6, 6) if size == 12 else (6, 10))
