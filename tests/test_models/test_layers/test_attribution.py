import numpy as np
import pytest
import torch
from torch import nn

from mmad.errors import InputError
from mmad.models.layers import Attribution


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()).requires_grad_(False)


@pytest.fixture
def function(network):
    return lambda inputs: network(inputs).square().mean((1, 2, 3))


def test_gradients_of_a_known_function(images):
    weights = torch.randn(3, 32, 40)
    values, maps = Attribution()(lambda inputs: (weights * inputs).sum(
        (1, 2, 3)), images, nn.ReLU())
    torch.testing.assert_close(values, (weights * images).sum((1, 2, 3)))
    torch.testing.assert_close(maps, weights.abs().sum(0).expand(7, 1, 32, 40))


@pytest.mark.parametrize(
    'context', [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize('method', ['gradients', 'smooth_grad', 'gbp'])
def test_in_every_mode(network, function, images, method, context):
    attribution = Attribution(method, num_samples=2)
    expected = attribution(function, images, network)
    with context():
        values, maps = attribution(function, images * 1, network)
    torch.testing.assert_close(values, function(images))
    assert torch.equal(maps, expected[1])
    assert maps.shape == (7, 1, 32, 40)
    assert maps.std() > 0
    assert not maps.requires_grad
    assert not images.requires_grad


@pytest.mark.parametrize('method', ['gradients', 'smooth_grad', 'gbp'])
def test_batch_as_one_by_one(network, function, images, method):
    attribution = Attribution(method, percentile=99, num_samples=3)
    _, maps = attribution(function, images, network)
    for i in range(7):
        torch.testing.assert_close(
            attribution(function, images[i:i + 1], network)[1], maps[i:i + 1])


def test_methods_differ(network, function, images):
    maps = [
        Attribution(method, num_samples=3)(function, images, network)[1]
        for method in ('gradients', 'smooth_grad', 'gbp')
    ]
    assert not torch.allclose(maps[0], maps[1])
    assert not torch.allclose(maps[0], maps[2])


def test_smooth_grad_without_noise_is_the_gradient(network, function, images):
    smooth = Attribution('smooth_grad', num_samples=2, noise=0)
    torch.testing.assert_close(
        smooth(function, images, network)[1],
        Attribution()(function, images, network)[1])


def test_noise_follows_the_range_of_the_image(images):
    seen = []

    def function(inputs):
        seen.append(inputs.detach())
        return inputs.sum((1, 2, 3))

    images[1] = 10 * images[0]
    Attribution(
        'smooth_grad', num_samples=200, noise=0.1)(function, images[:2],
                                                   nn.ReLU())
    noise = torch.stack(seen[1:]) - images[:2]
    extent = images[0].max() - images[0].min()
    assert noise[:, 0].std() == pytest.approx(0.1 * float(extent), rel=0.01)
    torch.testing.assert_close(
        noise[:, 1], 10 * noise[:, 0], rtol=1e-3, atol=1e-3)


def test_default_noise_is_that_of_the_authors(images):
    # Their standard deviation is (0.05 / r)^2 for images of the range r = 1.
    seen = []

    def function(inputs):
        seen.append(inputs.detach())
        return inputs.sum((1, 2, 3))

    images = images[:1] - images[:1].min()
    images /= images.max()
    Attribution('smooth_grad')(function, images, nn.ReLU())
    noise = torch.stack(seen[1:]) - images
    assert len(noise) == 50
    assert noise.std() == pytest.approx(0.05**2, rel=0.02)


def test_guided_gradients(images):
    # Of a ReLU, only gradients that are positive on both sides remain.
    relu, sign = nn.ReLU(), torch.ones(3, 32, 40)
    sign[:, ::2] = -1

    def function(inputs):
        return (sign * relu(inputs)).sum((1, 2, 3))

    _, plain = Attribution()(function, images, relu)
    _, guided = Attribution('gbp')(function, images, relu)
    positive = (images > 0).sum(1, keepdim=True).float()
    assert torch.equal(plain, positive)
    positive[:, :, ::2] = 0
    assert torch.equal(guided, positive)
    assert torch.equal(Attribution()(function, images, relu)[1], plain)


def test_percentile(network, function, images):
    _, maps = Attribution()(function, images, network)
    _, scaled = Attribution(percentile=99)(function, images, network)
    for raw, ours in zip(maps.double().numpy(), scaled.numpy()):
        low, top = raw.min(), np.percentile(raw, 99)
        np.testing.assert_allclose(
            ours, np.clip((raw - low) / (top - low), 0, 1), atol=1e-6)
    _, scaled = Attribution(percentile=100)(function, images, network)
    assert (scaled.amax((1, 2, 3)) == 1).all()
    assert ((scaled == 1).sum((1, 2, 3)) == 1).all()


def test_percentile_of_a_constant_map(images):
    _, maps = Attribution(percentile=99)(lambda inputs: inputs.sum((1, 2, 3)),
                                         images, nn.ReLU())
    assert not maps.any()


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(method='cam'), '"gradients", "smooth_grad" or "gbp", got "cam"'),
     (dict(percentile=0), '`percentile` must be .* above 0'),
     (dict(percentile=101), '`percentile` must be .* above 0'),
     (dict(num_samples=0), '`num_samples` must be .* at least 1')])
def test_bad_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        Attribution(**kwargs)
