import copy
import pickle

import pytest
import torch
from torch import fx, nn

from mmad.models.backbones import DemoBackbone, TorchvisionBackbone
from mmad.models.backbones.cpu_copy import CPUCopy, fold_batch_norms

IMAGES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


class Forked(nn.Module):
    """Normalization after a convolution that others look at, too."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, groups=2, bias=False)
        self.last_norm = nn.BatchNorm2d(4, affine=False)

    def forward(self, inputs):
        inputs = self.first(inputs)
        normalized = self.norm(inputs)
        shared = self.last_norm(self.second(normalized))
        return inputs.mean(), shared


def randomize(network):
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2, generator=generator)
                nn.init.normal_(module.bias, generator=generator)
    return network.eval().requires_grad_(False)


def assert_alike(found, expected):
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def number_of_norms(network):
    return sum(isinstance(part, nn.BatchNorm2d) for part in network.modules())


def test_only_what_nothing_else_sees_is_folded():
    network = randomize(Forked())
    graph = fx.symbolic_trace(copy.deepcopy(network)).eval()
    fold_batch_norms(graph)
    assert [
        name for name, part in graph.named_modules()
        if isinstance(part, nn.BatchNorm2d)
    ] == ['norm']
    for found, expected in zip(graph(IMAGES), network(IMAGES)):
        torch.testing.assert_close(found, expected)


def test_a_convolution_that_runs_twice_is_not_folded():
    convolution, norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
    network = randomize(nn.Sequential(convolution, norm, convolution))
    graph = fx.symbolic_trace(network).eval()
    fold_batch_norms(graph)
    assert number_of_norms(graph) == 1
    torch.testing.assert_close(graph(IMAGES), network(IMAGES))


@pytest.mark.parametrize(
    ('name', 'stages', 'norms'),
    [
        ('resnet18', ('layer1', 'layer3'), 0),
        ('vgg11_bn', ('features.5', 'features.9'), 0),
        # Those of each layer follow a concatenation.
        ('densenet121', ('features.denseblock1', ), 6),
        ('mobilenet_v2', ('features.3', ), 0),
        ('efficientnet_b0', ('features.2', ), 0),
        ('shufflenet_v2_x0_5', ('stage2', ), 0),
        ('squeezenet1_1', ('features.4', ), 0),
        ('googlenet', ('inception3a', ), 0),
        ('convnext_tiny', ('features.1', ), 0),
    ])
def test_families_of_torchvision(name, stages, norms):
    backbone = TorchvisionBackbone(name, stages, weights=None)
    randomize(backbone.body)
    state = copy.deepcopy(backbone.state_dict())
    expected = backbone.body(IMAGES)
    found = backbone(IMAGES)
    made = backbone._cpu_copy.find(backbone.body, IMAGES)
    assert made is not backbone.body
    assert number_of_norms(made) == norms
    for stage, level in zip(stages, found, strict=True):
        assert_alike(level, expected[stage])
    assert state.keys() == backbone.state_dict().keys()
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, state[key])


def test_features_do_not_depend_on_the_batch():
    backbone = DemoBackbone()
    # oneDNN may choose otherwise for small images.
    images = torch.rand(3, 3, 224, 224)
    together = backbone(images)
    for number, image in enumerate(images):
        for level, alone in zip(together, backbone(image[None])):
            assert torch.equal(level[number], alone[0])


@pytest.mark.parametrize('size', [(40, 48), (224, 224), (700, 500)])
@pytest.mark.parametrize('make', [
    DemoBackbone,
    lambda: TorchvisionBackbone('resnet18', ('layer2', 'layer1'), None),
])
def test_it_gets_a_few_images_at_a_time(make, size, monkeypatch):
    backbone = make()
    numbers, maps = [], backbone._maps

    def count(body, inputs):
        numbers.append(len(inputs))
        return maps(body, inputs)

    monkeypatch.setattr(backbone, '_maps', count)
    most = 8 * 224 * 224 // (size[0] * size[1]) or 1
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 2)
    images = torch.rand(2 * most + 1, 3, *size)
    found = backbone(images)
    assert numbers == [most, most, 1]
    for number in (0, most, 2 * most):
        for level, alone in zip(found, backbone(images[number:number + 1])):
            assert len(level) == len(images)
            assert_alike(level[number], alone[0])


@pytest.mark.parametrize('change', ['load', 'fill', 'to'])
def test_new_weights_reach_the_copy(change):
    backbone = TorchvisionBackbone('resnet18', ('layer1', ), None)
    other = randomize(TorchvisionBackbone('resnet18', ('layer1', ), None))
    before = backbone(IMAGES)[0]
    if change == 'load':
        backbone.load_state_dict(other.state_dict())
    elif change == 'fill':
        with torch.no_grad():
            next(backbone.parameters()).fill_(0.5)
    else:
        backbone.to(torch.float64)
        other.to(torch.float64)
        backbone.load_state_dict(other.state_dict())
        backbone.to(torch.float32)
    found = backbone(IMAGES)[0]
    assert not torch.allclose(found, before)
    assert_alike(found, backbone.body(IMAGES)['layer1'])


def test_what_is_trained_has_no_copy():
    backbone = DemoBackbone()
    assert backbone._cpu_copy.find(backbone.body, IMAGES) is not backbone.body
    backbone.unfreeze()
    assert backbone._cpu_copy.find(backbone.body, IMAGES) is backbone.body


def test_gradients_of_images_take_the_network_itself():
    backbone = DemoBackbone()
    images = IMAGES.clone().requires_grad_()
    assert backbone._cpu_copy.find(backbone.body, images) is backbone.body
    backbone(images)[0].sum().backward()
    assert images.grad.any()


def test_a_copy_made_in_inference_mode_serves_training():
    backbone = DemoBackbone()
    with torch.inference_mode():
        expected = backbone(IMAGES)[0]
    head = nn.Conv2d(64, 1, 1)
    found = backbone(IMAGES)[0]
    head(found).sum().backward()
    assert torch.equal(found, expected)
    assert head.weight.grad.any()


@pytest.mark.parametrize(
    'again', [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles_leave_it_out(again):
    backbone = DemoBackbone()
    expected = backbone(IMAGES)
    other = again(backbone)
    assert isinstance(other._cpu_copy, CPUCopy)
    assert other._cpu_copy._made is None
    for found, level in zip(other(IMAGES), expected):
        assert torch.equal(found, level)


def test_a_network_without_convolutions_stays():
    network = nn.Conv2d(3, 4, 1).requires_grad_(False)
    assert CPUCopy().find(network, IMAGES) is network
