import pytest
import torch
from torch import nn

from mmad.errors import InputError
from mmad.models import Cloner, TorchvisionBackbone


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize('size', [128, 32])
def test_imitates_vgg16(size):
    with torch.device('meta'):
        source = TorchvisionBackbone(
            'vgg16',
            ['features.9', 'features.16', 'features.23', 'features.30'], None)
        images = torch.empty(2, 3, size, size)
        light, equal = Cloner(), Cloner('equal_size')
        shapes = [one.shape for one in source(images)]
        assert [one.shape for one in light(images)] == shapes
        assert [one.shape for one in equal(images)] == shapes
    assert shapes == [(2, 128, size // 4, size // 4),
                      (2, 256, size // 8, size // 8),
                      (2, 512, size // 16, size // 16),
                      (2, 512, size // 32, size // 32)]
    assert count(light) == 343_984
    # Convolutions of VGG-16 without biases, and what normalizes 8 of them.
    convolutions = [m for m in source.modules() if isinstance(m, nn.Conv2d)]
    weights = sum(m.weight.numel() for m in convolutions)
    assert count(equal) == weights + 2 * (64 + 128 + 2 * (256 + 512 + 512))


@pytest.mark.parametrize('size', [(128, 128), (90, 75), (33, 49)])
def test_imitates_resnet18(size):
    with torch.device('meta'):
        source = TorchvisionBackbone('resnet18',
                                     ['layer1', 'layer2', 'layer3'], None)
        cloner = Cloner([[16, 16], [16, 64], [16, 16, 128], [16, 16, 256]],
                        points=[1, 2, 3],
                        ceil_mode=True)
        images = torch.empty(2, 3, *size)
        assert [one.shape for one in cloner(images)
                ] == [one.shape for one in source(images)]
    assert count(cloner) < count(source) / 20


def test_layers():
    kinds = [type(m) for block in Cloner().blocks for m in block]
    conv, norm, relu, pool = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d)
    short = [conv, norm, relu, conv, relu, pool]
    assert kinds == 2 * short + 3 * [conv, norm, relu, *short]
    assert all(m.bias is None for m in Cloner().modules()
               if isinstance(m, conv))


def test_xavier():
    torch.manual_seed(0)
    weight = Cloner().blocks[4][6].weight.detach()
    bound = (6 / (9 * (16 + 512)))**0.5
    assert weight.abs().max() <= bound
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.02)


def test_without_bias(images):
    cloner = Cloner([[4, 4], [4, 6]], points=[1], bn_affine_bias=False)
    maps, = cloner(images)
    maps.square().mean().backward()
    for name, parameter in cloner.named_parameters():
        assert (parameter.grad is None) == name.endswith('bias')
    assert any(name.endswith('bias') for name, _ in cloner.named_parameters())


def test_stops_behind_the_last_point(images):
    cloner = Cloner(points=[0, 2])
    assert len(cloner.blocks) == 3
    assert [one.shape[1] for one in cloner(images)] == [16, 256]


def test_strides(images):
    cloner = Cloner([[4], [5, 6]], points=[0, 1], strides=[4, 1])
    assert [one.shape for one in cloner(images)] == [(7, 4, 8, 10),
                                                     (7, 6, 8, 10)]


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(widths='huge'), 'one of light, equal_size or numbers, got "huge"'),
     (dict(strides=[2]), '5 blocks and 1 `strides`'),
     (dict(points=[1, 5]), r'blocks among 0 to 4.* got \[1, 5\]'),
     (dict(points=[2, 1]), r'got \[2, 1\]'), (dict(points=[]), r'got \[\]')])
def test_bad_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        Cloner(**kwargs)
