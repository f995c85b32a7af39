import copy
import platform

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from mmad.models.backbones import TorchvisionBackbone
from mmad.models.backbones.fused_convolution import (
    FusedConvolution,
    fuse_convolutions,
)

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ('x86_64', 'amd64')
    or not torch.backends.mkldnn.is_available(),
    reason='convolutions are fused on x86 processors only')

IMAGES = torch.rand(2, 4, 11, 14, generator=torch.Generator().manual_seed(0))


class Steps(nn.Module):
    """A convolution, and what a function makes of it."""

    def __init__(self, follow, **kwargs):
        super().__init__()
        self.follow = follow
        self.convolution = nn.Conv2d(
            4, 4, **dict(dict(kernel_size=3, padding=1), **kwargs))
        self.relu = nn.ReLU(inplace=True)
        self.relu6 = nn.ReLU6()

    def forward(self, inputs):
        return self.follow(self, inputs)


def residual(join):
    return lambda self, x: self.relu(join(self.convolution(x), x))


def with_part(take):

    def follow(self, x):
        part = take(self, x)
        return self.relu(self.convolution(x) + part)

    return follow


def after_something_else(self, x):
    found = self.convolution(x)
    other = x.exp()
    return F.relu(found + other)


def seen_by_others(self, x):
    found = self.convolution(x)
    return found.mean(), F.relu(found)


def sum_seen_by_others(self, x):
    total = self.convolution(x) + x
    return total.mean(), F.relu(total)


def fuse(network):
    network = network.eval().requires_grad_(False)
    graph = fx.symbolic_trace(copy.deepcopy(network))
    fuse_convolutions(graph)
    return graph


def check(network, images=IMAGES):
    graph = fuse(network)
    with torch.no_grad():
        for _ in range(2):  # nothing has been changed in place
            given = images.clone()
            torch.testing.assert_close(graph(given), network(images.clone()))
            assert torch.equal(given, images)
    parts = [
        part for part in graph.modules() if isinstance(part, FusedConvolution)
    ]
    return graph, parts


def number_of_steps(graph):
    return sum(node.op.startswith('call') for node in graph.graph.nodes)


@pytest.mark.parametrize(
    ('follow', 'steps', 'relu'),
    [
        (lambda self, x: self.convolution(x), 1, False),
        (lambda self, x: self.relu(self.convolution(x)), 1, True),
        (lambda self, x: F.relu(self.convolution(x), inplace=True), 1, True),
        (lambda self, x: torch.relu(self.convolution(x)), 1, True),
        (lambda self, x: self.convolution(x).relu_(), 1, True),
        (residual(lambda new, old: new + old), 1, True),
        (residual(lambda new, old: old + new), 1, True),
        (residual(torch.add), 1, True),
        (lambda self, x: self.convolution(x) + x, 1, False),
        # Added along some dimension.
        (with_part(lambda self, x: x[:, :, :1, :1]), 2, True),
        (with_part(lambda self, x: x.mean((0, 1))), 2, True),
        # What is not joined.
        (lambda self, x: self.relu6(self.convolution(x)), 2, False),
        (residual(lambda new, old: torch.add(new, old, alpha=2)), 3, False),
        (residual(lambda new, old: new + 1), 3, False),
        (residual(lambda new, old: new + new), 3, False),
        (residual(lambda new, old: new - old), 3, False),
        (after_something_else, 4, False),
        (seen_by_others, 3, False),
        (sum_seen_by_others, 3, False),
    ])
def test_what_follows_a_convolution(follow, steps, relu):
    torch.manual_seed(0)
    graph, (part, ) = check(Steps(follow))
    assert number_of_steps(graph) == steps
    assert part.relu is relu


@pytest.mark.parametrize('kwargs', [
    dict(kernel_size=1, padding=0),
    dict(kernel_size=(3, 5), padding=(1, 2)),
    dict(stride=2),
    dict(stride=(2, 1), dilation=(1, 2), padding=(0, 3)),
    dict(groups=2),
    dict(groups=4, bias=False),
])
@pytest.mark.parametrize('size', [(11, 14), (12, 9)])
def test_any_convolution(kwargs, size):
    torch.manual_seed(0)
    network = Steps(with_part(lambda self, x: self.other(x)), **kwargs)
    network.other = copy.deepcopy(network.convolution)
    nn.init.normal_(network.other.weight)
    graph, parts = check(network, torch.rand(3, 4, *size))
    assert sorted(part.relu for part in parts) == [False, True]
    assert number_of_steps(graph) == 2


@pytest.mark.parametrize(
    'kwargs',
    [dict(padding='same'), dict(padding_mode='reflect')])
def test_other_borders_are_left_alone(kwargs):
    assert not check(Steps(residual(torch.add), **kwargs))[1]


def test_a_convolution_that_runs_twice_is_left_alone():
    assert not check(
        Steps(lambda self, x: self.convolution(self.convolution(x))))[1]


def test_an_output_that_is_smaller_than_what_is_added():
    check(Steps(with_part(lambda self, x: torch.cat([x, x]))), IMAGES[:1])


def test_residual_networks_as_a_whole():
    backbone = TorchvisionBackbone('resnet18', ('layer1', 'layer2'), None)
    images = torch.rand(2, 3, 64, 96)
    expected = backbone.body(images)
    found = backbone(images)
    made = backbone._cpu_copy.find(backbone.body, images)
    # Nothing is left but the pooling.
    assert {
        type(made.get_submodule(node.target))
        for node in made.graph.nodes if node.op.startswith('call')
    } == {FusedConvolution, nn.MaxPool2d}
    for stage, level in zip(backbone.stages, found, strict=True):
        torch.testing.assert_close(level, expected[stage])


def test_autocast_still_counts():
    backbone = TorchvisionBackbone('resnet18', ('layer1', ), None)
    images = torch.rand(1, 3, 64, 96)
    exact, = backbone(images)
    with torch.autocast('cpu', torch.bfloat16):
        rounded, = backbone(images)
        expected = backbone.body(images)['layer1']
    assert not torch.equal(rounded.float(), exact)
    torch.testing.assert_close(
        rounded.float(), expected.float(), rtol=0.05, atol=0.05)
    assert torch.equal(backbone(images)[0], exact)


@pytest.mark.parametrize('missing', ['processor', 'library'])
def test_where_the_operators_are_not_known(monkeypatch, missing):
    if missing == 'processor':
        monkeypatch.setattr(platform, 'machine', lambda: 'arm64')
    else:
        monkeypatch.setattr(torch.backends.mkldnn, 'is_available',
                            lambda: False)
    assert not check(Steps(residual(torch.add)))[1]
