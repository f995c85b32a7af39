import pytest
import torch
from fyd_parts import ALL, FAS, ICA, disturb, parts, train

from mmad.models.layers import describe_affine, invert_affine, warp


@parts
def test_at_the_start_features_are_those_of_the_backbone(
        make_fyd, images, switches):
    for frame in ('aligned', 'original'):
        detector = make_fyd(gaussian_frame=frame, **switches).eval()
        torch.testing.assert_close(
            detector.extract(images),
            make_fyd().extract(images),
            rtol=1e-4,
            atol=1e-4)


def test_statistics_of_the_transforms(make_fyd, images):
    detector = disturb(make_fyd(**ALL)).train()
    log = detector(images, [None] * 7, mode='loss')
    matrix = detector.ica.locate(images)
    described = describe_affine(matrix)
    for name, value in described.items():
        torch.testing.assert_close(log[f'ica_{name}_mean'], value.mean())
        torch.testing.assert_close(log[f'ica_{name}_std'],
                                   value.std(correction=0))
    assert float(log['ica_shift_x_std']) > 1e-3
    assert log['fca_scale_std'] > 1e-3


@parts
@pytest.mark.parametrize('frame', ['aligned', 'original'])
def test_maps_after_a_fit(make_fyd, fit, images, switches, frame):
    # All images are moved alike, by a shift of some pixels and a turn.
    detector = disturb(
        make_fyd(gaussian_frame=frame, sigma=2.0, **switches), 0.0, 1.25)
    fit(detector, images)
    scores, maps = detector(images)
    assert maps.shape == (7, 1, 32, 40)
    assert torch.isfinite(maps).all()
    assert torch.equal(scores, maps.flatten(1).max(1).values)
    odd = images.clone()
    odd[3, :, 8:16, 20:28] += 8
    scores, maps = detector(odd)
    assert scores.argmax() == 3
    inside = maps[3, 0, 8:16, 20:28].mean()
    assert inside > 1.5 * maps[3].mean()


def test_distances_return_by_the_inverse(make_fyd, fit, images):
    detector = fit(disturb(make_fyd(**ALL)), images)
    matrix = detector.align(images)[1]
    there = detector.gaussians(detector.extract(images))
    # What the aligned frame does not show is not scored.
    back = warp(there, invert_affine(matrix), 'zeros')
    assert (back == 0).any()
    assert (back - there).abs().max() > 0.1
    torch.testing.assert_close(
        detector(images)[1], detector.anomaly_map(back, images.shape[-2:]))


def test_stages_share_the_last_frame(make_fyd, images):
    detector = disturb(make_fyd(reduction='none', dim=None, **ALL))
    image, first = detector.ica(images)
    one = detector.backbone.body.layer1(image)
    moved, second = detector.fca['layer1'](one)
    two = detector.backbone.body.layer2(moved)
    third = detector.fca['layer2'].locate(two)
    expected = [warp(one, second @ third), warp(two, third)]
    torch.testing.assert_close(
        detector.extract(images), detector.reduction(expected))
    torch.testing.assert_close(
        detector.align(images)[1], first @ second @ third)
    original = disturb(
        make_fyd(reduction='none', dim=None, gaussian_frame='original', **ALL))
    expected = [
        warp(one, invert_affine(first)),
        warp(two, invert_affine(first @ second))
    ]
    torch.testing.assert_close(
        original.extract(images), original.reduction(expected))


def test_align(make_fyd, images):
    aligned, matrix = make_fyd().align(images)
    assert torch.equal(matrix, torch.eye(3).expand(7, 3, 3))
    torch.testing.assert_close(aligned, images, atol=1e-5, rtol=1e-5)
    detector = disturb(make_fyd(ica=ICA))
    aligned, _ = detector.align(images)
    assert torch.equal(aligned, detector.ica(images)[0])


@pytest.mark.parametrize(
    ('switches', 'steps', 'lr'),
    [(dict(ica=dict(mode='translation', grid=2)), 50, 0.01),
     (dict(
         fca=dict(mode='translation', grid=2),
         fas=FAS,
         mean_transform_loss=dict(type='MeanTransformLoss',
                                  loss_weight=1.0)), 200, 0.1)],
    ids=['ica', 'fca'])
def test_moved_copies_of_one_image_are_aligned(make_fyd, switches, steps, lr):
    torch.manual_seed(0)
    image = torch.nn.functional.interpolate(
        3 * torch.randn(1, 3, 5, 5), size=(32, 32), mode='bicubic')
    shift = torch.empty(16, 2).uniform_(-0.2, 0.2)
    matrix = torch.eye(3).repeat(16, 1, 1)
    matrix[:, :2, 2] = shift
    images = warp(image.expand(16, 3, 32, 32), matrix)
    detector = make_fyd(**switches)
    train(detector, images, steps, lr)
    moves = detector.eval().align(images)[1][:, :2, 2]
    assert (moves + shift).std(0).max() < 0.5 * shift.std(0).min()
    assert moves.mean(0).abs().max() < 0.05
