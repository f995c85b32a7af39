import pytest
import torch
from tiny_models import TinyBackbone, fit_shard
from torch import nn

from mmad.errors import InputError
from mmad.models import (
    FYD,
    MKD,
    SPADE,
    DemoBackbone,
    FrozenBackbone,
    PaDiM,
    PatchCore,
    TiledBackbone,
    build_backbone,
)


def tiled(size=32, overlap=16, **kwargs):
    return TiledBackbone(TinyBackbone(), size, overlap, **kwargs)


def images(height=75, width=110, number=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(number, 3, height, width, generator=generator)


@pytest.mark.parametrize(('height', 'width'), [(32, 32), (33, 40), (75, 110),
                                               (20, 90), (128, 64)])
@pytest.mark.parametrize('size', [32, 40])
def test_equals_the_whole_image(size, height, width):
    """The receptive field is 13 pixels, less than the overlap."""
    inputs = images(height, width)
    for blending in ('center', 'linear'):
        backbone = tiled(size, blending=blending, batch_size=3)
        assert backbone.strides == (4, 8)
        for level, whole in zip(
                backbone(inputs), TinyBackbone()(inputs), strict=True):
            assert level.shape == whole.shape
            if blending == 'center':
                torch.testing.assert_close(level, whole)


def test_linear_of_what_does_not_look_around():

    class Pointwise(FrozenBackbone):

        def __init__(self):
            super().__init__(['only'])

        def forward(self, inputs):
            return (inputs[:, :, ::4, ::4].sin(), )

    inputs = images()
    backbone = TiledBackbone(Pointwise(), 32, 12, 'linear')
    torch.testing.assert_close(backbone(inputs), Pointwise()(inputs))


def test_linear_is_a_mean_of_the_tiles():
    """Two tiles, 0 to 31 and 16 to 47, with four cells in common."""
    inputs = images(32, 48, 1)
    one, other = (
        TinyBackbone(['layer2'])(part)[0]
        for part in (inputs[..., :32], inputs[..., 16:]))
    backbone = TiledBackbone(TinyBackbone(['layer2']), 32, 16, 'linear')
    level, = backbone(inputs)
    rise = torch.tensor([0.125, 0.375, 0.625, 0.875])
    torch.testing.assert_close(level[..., :4], one[..., :4])
    torch.testing.assert_close(level[..., 8:], other[..., 4:])
    torch.testing.assert_close(level[..., 4:8], (1 - rise) * one[..., 4:] +
                               rise * other[..., :4])


def test_a_real_network():
    """The radius of the receptive field of layer3 is 105 pixels."""
    inputs = images(300, 420, 1)
    network = DemoBackbone(['layer1', 'layer2', 'layer3'])
    backbone = TiledBackbone(network, 256, 224)
    for level, whole in zip(backbone(inputs), network(inputs), strict=True):
        torch.testing.assert_close(level, whole, rtol=1e-4, atol=1e-5)


def test_images_do_not_depend_on_their_batch():
    inputs = images(number=3)
    for level, alone in zip(tiled()(inputs), tiled()(inputs[1:2])):
        assert torch.equal(level[1:2], alone)


def test_few_tiles_at_a_time():
    seen = []

    class Watched(TinyBackbone):

        def forward(self, inputs):
            seen.append(tuple(inputs.shape))
            return super().forward(inputs)

    TiledBackbone(Watched(), 32, 16, batch_size=2)(images(80, 112, 1))
    assert all(number <= 2 and max(sides) <= 32
               for number, _, *sides in seen[1:])


def test_channels_and_state():
    backbone = tiled()
    assert backbone.channels == (6, 10)
    assert backbone.stages == ('layer2', 'layer3')
    assert not any(p.requires_grad for p in backbone.parameters())


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(size=0), 'tiles.size'),
    (dict(size=32.5), 'tiles.size'),
    (dict(size=36), '`tiles.size` 36 is no multiple'),
    (dict(overlap=12), 'multiple of 8'),
    (dict(overlap=32), 'below `tiles.size`'),
    (dict(overlap=-8), 'tiles.overlap'),
    (dict(blending='none'), 'tiles.blending'),
    (dict(batch_size=0), 'tiles.batch_size'),
])
def test_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        tiled(**arguments)


def test_networks_that_do_not_pad():

    class Bare(nn.Module):

        def forward(self, inputs):
            return (nn.functional.avg_pool2d(inputs, 7, 4), )

    with pytest.raises(InputError, match='a network that pads'):
        TiledBackbone(build_backbone(Bare()), 32, 0)


def config(**tiles):
    return dict(type='TinyBackbone', tiles=dict(size=32, overlap=16, **tiles))


def test_from_a_config():
    backbone = build_backbone(config(blending='linear'))
    assert isinstance(backbone, TiledBackbone)
    assert isinstance(backbone.network, TinyBackbone)
    assert backbone.blending == 'linear'
    plain = build_backbone(dict(type='TinyBackbone', tiles=None))
    assert isinstance(plain, TinyBackbone)
    with pytest.raises(InputError, match='`tiles` must be a dict'):
        build_backbone(dict(type='TinyBackbone', tiles=512))
    for tiles in (dict(overlap=16), dict(size=32, overlaps=16)):
        with pytest.raises(InputError, match='needs `size`'):
            build_backbone(dict(type='TinyBackbone', tiles=tiles))


def test_networks_of_other_packages(otherpkg):
    network = dict(type='otherpkg.ResNet', out_indices=(0, 2), weights=None)
    torch.manual_seed(0)
    backbone = build_backbone(dict(network, tiles=dict(size=64, overlap=32)))
    assert backbone.stages == ('stage0', 'stage2')
    inputs = images(64, 100)
    for level, whole in zip(backbone(inputs), backbone.network(inputs)):
        assert level.shape == whole.shape


DETECTORS = dict(
    patchcore=lambda backbone: PatchCore(
        backbone, coreset_ratio=0.2, num_neighbors=3, projection_dim=None),
    padim=lambda backbone: PaDiM(backbone, dim=8, epsilon=0.1),
    spade=lambda backbone: SPADE(backbone, 'layer3', ['layer2', 'layer3'], 2))


@pytest.mark.parametrize('name', DETECTORS)
def test_detectors_score_as_without_tiles(name):
    training, queries = images(number=5), images(number=2).flip(0) * 1.5
    scored = []
    for backbone in (dict(type='TinyBackbone'), config()):
        detector = fit_shard(DETECTORS[name](backbone), training)
        with torch.no_grad():
            scored.append(detector(queries))
    torch.testing.assert_close(*scored, rtol=1e-3, atol=1e-3)


def test_checkpoints_of_other_tiles_are_refused():
    detector = fit_shard(DETECTORS['patchcore'](config()), images(number=4))
    state = detector.state_dict()
    DETECTORS['patchcore'](config()).load_state_dict(state)
    for other in (config(blending='linear'),
                  dict(type='TinyBackbone', tiles=dict(size=40, overlap=16))):
        with pytest.raises(InputError, match='in tiles of 32 pixels'):
            DETECTORS['patchcore'](other).load_state_dict(state)


def test_methods_that_take_no_tiles():
    with pytest.raises(InputError, match='no use for `tiles`'):
        MKD(config(), dict(type='Cloner'))
    with pytest.raises(InputError, match='cannot be trained'):
        FYD(config(), fas=dict())
