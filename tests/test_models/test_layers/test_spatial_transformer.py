import math

import pytest
import torch

from mmad.errors import InputError
from mmad.models import PairLoss
from mmad.models.layers import SpatialTransformer, affine_matrix, warp
from mmad.models.layers.affine import MODES, describe_affine


def disturb(transformer, seed=0):
    """Give the last layer weights, so that it no longer is the identity."""
    torch.manual_seed(seed)
    torch.nn.init.normal_(transformer.linear[-1].weight, std=0.3)
    torch.nn.init.normal_(transformer.linear[-1].bias, std=0.6)
    return transformer


@pytest.mark.parametrize('mode', MODES)
def test_identity_at_the_start(images, mode):
    warped, matrix = SpatialTransformer(3, mode)(images)
    assert torch.equal(matrix, torch.eye(3).expand(7, 3, 3))
    torch.testing.assert_close(warped, images, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ('mode', 'count'), [('affine', 6), ('translation', 2), ('rotation', 1),
                        ('scale', 2), ('shear', 2), ('rotation_scale', 3),
                        ('translation_scale', 4), ('rotation_translation', 3),
                        ('rotation_translation_scale', 5)])
def test_numbers_of_a_mode(mode, count):
    assert SpatialTransformer(3, mode).linear[-1].out_features == count
    assert len(MODES) == 9


@pytest.mark.parametrize('mode', MODES)
def test_limits_hold_and_inverses_exist(images, mode):
    transformer = disturb(SpatialTransformer(3, mode))
    with torch.no_grad():
        transformer.linear[-1].weight *= 1e3
    matrix = transformer.locate(50 * images[..., :32])
    assert matrix[:, :2, 2].abs().max() <= 0.3 + 1e-6
    scales = torch.linalg.svdvals(matrix[:, :2, :2])
    assert torch.linalg.det(matrix).min() > 0.5
    if 'shear' not in mode and mode != 'affine':
        assert scales.min() >= 0.8 - 1e-4
        assert scales.max() <= 1.25 + 1e-4
    if mode == 'rotation':
        angle = describe_affine(matrix)['angle']
        assert 10 < angle.abs().max() <= 30.001


def test_limits_are_those_given(images):

    def extreme(mode, **limits):
        transformer = disturb(SpatialTransformer(3, mode, **limits))
        with torch.no_grad():
            transformer.linear[-1].weight *= 1e3
        return transformer.locate(50 * images[..., :32])

    angle = describe_affine(extreme('rotation', max_angle=12.0))['angle']
    assert angle.abs().max().item() == pytest.approx(12, abs=1e-3)
    shift = extreme('translation', max_shift=0.05)[:, :2, 2]
    assert shift.abs().max().item() == pytest.approx(0.1)
    scale = extreme('scale', max_scale=1.1)[:, [0, 1], [0, 1]]
    assert scale.max().item() == pytest.approx(1.1)
    assert scale.min().item() == pytest.approx(1 / 1.1)
    shear = extreme('shear', max_shear=0.4)[:, [0, 1], [1, 0]]
    assert shear.abs().max().item() == pytest.approx(0.4)


def test_a_mode_does_nothing_else(images):
    moved = disturb(SpatialTransformer(3, 'translation')).locate(images)
    assert torch.equal(moved[:, :2, :2], torch.eye(2).expand(7, 2, 2))
    assert (moved[:, :2, 2].abs() > 1e-3).any()
    turned = disturb(SpatialTransformer(3,
                                        'rotation')).locate(images[..., :32])
    assert not turned[:, :2, 2].any()
    torch.testing.assert_close(turned[:, :2, :2] @ turned[:, :2, :2].mT,
                               torch.eye(2).expand(7, 2, 2))


def test_any_size():
    transformer = disturb(SpatialTransformer(4))
    for size in ((8, 8), (14, 14), (30, 70), (224, 224)):
        warped, matrix = transformer(torch.rand(2, 4, *size))
        assert warped.shape == (2, 4, *size)
        assert matrix.shape == (2, 3, 3)


def test_gradients():
    # Far from the identity, where bilinear sampling has corners.
    transformer = disturb(SpatialTransformer(2, 'affine', grid=2)).double()
    images = torch.rand(3, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(transformer, (images, ))


def _poses(shift):
    """Twelve copies of one image, each turned and moved its own way."""
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, 24), torch.linspace(-1, 1, 24), indexing='ij')
    image = torch.stack([
        torch.exp(-3 * (rows**2 + 6 * columns**2)),
        torch.exp(-8 * ((rows - 0.4)**2 + columns**2))
    ])
    matrix = affine_matrix(
        torch.empty(12, 2).uniform_(-shift, shift),
        torch.empty(12, 1).uniform_(-0.3, 0.3), torch.ones(12, 2),
        torch.zeros(12, 2), (24, 24))
    return 3 * warp(image.expand(12, 2, 24, 24), matrix)


@pytest.mark.parametrize(('mode', 'shift'),
                         [('rotation_scale', 0.0),
                          ('rotation_translation_scale', 0.1)])
def test_pair_loss_falls_on_moved_copies_of_one_image(mode, shift):
    images = _poses(shift)
    transformer, loss = SpatialTransformer(2, mode, grid=3), PairLoss('all')
    optimizer = torch.optim.SGD(
        transformer.parameters(), lr=0.003, momentum=0.9)
    first = float(loss(images))
    for _ in range(60):
        optimizer.zero_grad()
        loss(transformer(images)[0]).backward()
        optimizer.step()
    with torch.no_grad():
        warped, matrix = transformer(images)
    assert float(loss(warped)) < 0.6 * first
    scales = torch.linalg.svdvals(matrix[:, :2, :2])
    assert (scales.log().abs() <= math.log(1.25) + 1e-4).all()


def test_gain(images):
    transformer = disturb(SpatialTransformer(3, 'translation'))
    once = transformer.locate(images)[:, :2, 2]
    transformer.gain = 0.05
    half = transformer.locate(images)[:, :2, 2]
    limit = transformer.limits['translation']
    # Near the limit float32 keeps few digits of it.
    torch.testing.assert_close(
        torch.atanh(once / limit),
        2 * torch.atanh(half / limit),
        rtol=1e-3,
        atol=1e-3)
    assert transformer.settings()['gain'] == 0.05


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(mode='rotate'), 'must be "affine", .* or .* got "rotate"'),
    (dict(max_angle=90), '`max_angle` must be .* above 0 and below 90'),
    (dict(max_shift=0), '`max_shift` must be .* above 0 and below 0.5'),
    (dict(max_scale=1), '`max_scale` must be .* above 1'),
    (dict(max_shear=1), '`max_shear` must be .* above 0 and below 1'),
    (dict(max_scale=math.inf), '`max_scale` must be a finite number, above 1'),
    (dict(grid=0), '`grid` must be a whole number, at least 1, got 0'),
    (dict(grid=1.5), 'at least 1, got 1.5'),
    (dict(gain=0), '`gain` must be .* above 0'),
    (dict(gain=math.inf), '`gain` must be a finite number, above 0')
])
def test_bad_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        SpatialTransformer(3, **kwargs)
