import pytest
import torch
import torch.nn.functional as F

from mmad.errors import InputError
from mmad.models import PatchNetwork

SIZES = [17, 33, 65]


@pytest.fixture
def make_network():

    def make(patch_size, width=0.05, **kwargs):
        torch.manual_seed(0)
        return PatchNetwork(patch_size, width, out_channels=8, **kwargs)

    return make


@pytest.mark.parametrize(('patch_size', 'number', 'field'),
                         [(17, 2_996_480, 17), (33, 1_616_000, 32),
                          (65, 1_386_624, 60)])
def test_sizes(patch_size, number, field):
    with torch.device('meta'):
        network = PatchNetwork(patch_size)
        assert network(torch.rand(2, 3, patch_size,
                                  patch_size)).shape == (2, 128)
        assert network.dense(torch.rand(1, 3, 70,
                                        80)).shape == (1, 128, 70, 80)
    assert sum(p.numel() for p in network.parameters()) == number
    assert network.receptive_field == field


@pytest.mark.parametrize('padding', ['reflect', 'replicate', 'zeros'])
@pytest.mark.parametrize('patch_size', SIZES)
def test_dense_is_patch_wise(make_network, patch_size, padding):
    network = make_network(patch_size, padding=padding)
    images = torch.randn(2, 3, 37, 43)
    half = patch_size // 2
    mode = 'constant' if padding == 'zeros' else padding
    padded = F.pad(images, (half, ) * 4, mode=mode)
    with torch.no_grad():
        dense = network.dense(images)
        assert dense.shape == (2, 8, 37, 43)
        for row, column in [(0, 0), (0, 42), (36, 0), (36, 42), (18, 21),
                            (19, 22), (5, 36), (20, 1)]:
            patches = padded[..., row:row + patch_size,
                             column:column + patch_size]
            found = network(patches)
            # They say something of the patch.
            assert (found[0] - found[1]).abs().max() > 1e-3
            torch.testing.assert_close(
                dense[..., row, column], found, rtol=0, atol=1e-5)


@pytest.mark.parametrize('patch_size', SIZES)
def test_a_descriptor_sees_the_receptive_field_only(make_network, patch_size):
    network = make_network(patch_size, padding='zeros')
    images = torch.randn(1, 3, 80, 80)
    changed = images.clone()
    changed[..., 40, 40] += 5
    with torch.no_grad():
        moved = (network.dense(images) - network.dense(changed)).abs().amax(
            (0, 1)) > 0
    half = patch_size // 2
    for axis in (0, 1):
        places = moved.any(axis).nonzero().flatten()
        assert places[0] == 40 - (network.receptive_field - 1 - half)
        assert places[-1] == 40 + half


def test_small_images(make_network):
    network = make_network(33)
    assert network.dense(torch.rand(1, 3, 17, 20)).shape[-2:] == (17, 20)
    with pytest.raises(
            InputError,
            match='20x16 are too small for patches of '
            '33 pixels; use at least 17'):
        network.dense(torch.rand(1, 3, 16, 20))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(patch_size=32), 'one of 17, 33, 65, got 32'),
     (dict(patch_size=17, width=0), 'a finite number, above 0, got 0'),
     (dict(patch_size=17, padding='same'), 'or "zeros", got "same"')])
def test_bad_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        PatchNetwork(**kwargs)
