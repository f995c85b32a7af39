import math

import pytest
import torch
import torch.nn.functional as F

from mmad.errors import InputError
from mmad.models.layers import PoseSearch, affine_matrix, compose_affine, warp
from mmad.models.layers.affine import invert_affine

SIDE = 48


def draw_part(size=(96, 96)):
    """A part without symmetry, in the middle and far from the border."""
    height, width = size
    y, x = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2,
        torch.arange(width) - (width - 1) / 2,
        indexing='ij')
    unit = min(size) / 64
    part = torch.full((3, height, width), 0.7)
    for left, top, wide, high, gray in ((-14, -5, 28, 10, 0.2),
                                        (-14, -12, 9, 14, 0.4), (6, -3, 4, 4,
                                                                 0.9)):
        inside = ((x > left * unit) & (x < (left + wide) * unit)
                  & (y > top * unit) & (y < (top + high) * unit))
        part[:, inside] = gray
    return part


def draw_poses(number, generator, size, max_angle=math.pi, max_shift=0.3):
    angle = torch.empty(number, 1).uniform_(
        -max_angle, max_angle, generator=generator)
    shift = torch.empty(number, 2).uniform_(
        -max_shift, max_shift, generator=generator)
    return affine_matrix(shift, angle, torch.ones(number, 2),
                         torch.zeros(number, 2), size)


def lay_out(part, poses, generator, noise=0.02, light=0.0):
    """Images of a part that is brought back by ``poses``."""
    images = warp(part.expand(len(poses), *part.shape), invert_affine(poses))
    ramp = torch.linspace(-light, light, part.shape[-1])
    return images * (1 + ramp) + noise * torch.randn(
        images.shape, generator=generator)


def fit(images, ids=None, batch=5, **kwargs):
    search = PoseSearch(**dict(dict(side=SIDE), **kwargs))
    search.reset()
    ids = list(range(len(images))) if ids is None else ids
    for start in range(0, len(images), batch):
        search.update(images[start:start + batch], ids[start:start + batch])
    search.finalize()
    return search


def errors(found, poses, size):
    """Angles in degrees and shifts, as a share of the side, that differ."""
    height, width = size
    common = compose_affine(invert_affine(found), poses)
    ratio = torch.tensor([[1, width / height], [height / width, 1]])
    turn = common[:, :2, :2] / ratio.mT
    angle = torch.atan2(turn[:, 1, 0] - turn[:, 0, 1],
                        turn[:, 0, 0] + turn[:, 1, 1])
    angle = angle - angle[0]
    angle = torch.atan2(angle.sin(), angle.cos())
    angle = (angle - angle.median()).rad2deg().abs()
    # Of the part's center, in the frame that all share.
    center = common[:, :2, 2]
    return angle, (center - center.median(0).values).norm(dim=1) / 2


@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize('size', [(96, 96), (72, 120), (145, 96)])
def test_poses_on_the_whole_circle_are_found(seed, size):
    generator = torch.Generator().manual_seed(seed)
    part = draw_part(size)
    poses = draw_poses(18, generator, size, max_shift=0.15)
    images = lay_out(part, poses, generator)
    search = fit(images[:12])
    assert search.spectra.shape[1] == 72
    angle, shift = errors(search(images), poses, size)
    assert angle.median() < 1.5
    assert angle.max() < 8
    assert shift.max() < 0.02


@pytest.mark.parametrize('light', [-0.4, 0.4])
def test_light_that_is_the_same_in_all_images_is_not_aligned(light):
    generator = torch.Generator().manual_seed(0)
    part = draw_part()
    poses = draw_poses(12, generator, (96, 96), max_shift=0.2)
    images = lay_out(part, poses, generator, light=light)
    angle, shift = errors(fit(images)(images), poses, (96, 96))
    assert angle.median() < 1.5
    assert angle.max() < 8
    assert shift.max() < 0.02


@pytest.mark.parametrize('light', [0.0, 0.4])
def test_thin_parts_are_not_moved_out_of_view(light):
    generator = torch.Generator().manual_seed(6)
    part = torch.full((3, 96, 96), 0.7)
    part[:, 46:50, 20:76] = 0.3
    part[:, 42:54, 20:27] = 0.3
    poses = draw_poses(12, generator, (96, 96), max_shift=0.1)
    images = lay_out(part, poses, generator, light=light)
    angle, shift = errors(fit(images)(images), poses, (96, 96))
    assert angle.median() < 1.5
    assert angle.max() < 8
    assert shift.max() < 0.03


def test_parts_without_a_direction_are_only_shifted():
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(
        torch.arange(96.) - 47.5, torch.arange(96.) - 47.5, indexing='ij')
    disk = (torch.hypot(x, y) < 18).float().expand(3, 96, 96)
    poses = draw_poses(12, generator, (96, 96))
    images = lay_out(disk, poses, generator)
    search = fit(images)
    assert search.spectra.shape[:2] == (3, 1)
    assert 'shifts only' in search.summary()
    found = search(images)
    assert torch.equal(found[:, :2, :2], torch.eye(2).expand(12, 2, 2))
    moves = found[:, :2, 2] - poses[:, :2, 2]
    assert (moves - moves.mean(0)).abs().max() < 0.04


@pytest.mark.parametrize('kind', ['noise', 'smooth', 'same', 'constant'])
def test_what_no_pose_brings_closer_is_left_alone(kind):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(12, 3, 64, 64, generator=generator)
    if kind == 'smooth':
        images = F.interpolate(images[..., :16, :16], scale_factor=4)
    if kind == 'same':
        images = images[:1].expand_as(images)
    if kind == 'constant':
        images = torch.zeros_like(images)
    search = fit(images)
    assert not search.finds_poses
    assert search.is_fitted
    assert 'aligns nothing' in search.summary()
    assert torch.equal(search(images), torch.eye(3).expand(12, 3, 3))


def test_parts_stay_in_view():
    generator = torch.Generator().manual_seed(1)
    poses = draw_poses(12, generator, (96, 96))
    images = lay_out(draw_part(), poses, generator, noise=0)
    search = fit(images)
    aligned = warp(images, search(images))
    dark = (images[:, 0] < 0.65).sum((1, 2))
    assert ((aligned[:, 0] < 0.65).sum((1, 2)) > 0.9 * dark).all()


def test_fit_does_not_depend_on_order_and_batches():
    generator = torch.Generator().manual_seed(2)
    images = lay_out(draw_part(), draw_poses(8, generator, (96, 96)),
                     generator)
    expected = fit(images)
    order = torch.randperm(8, generator=generator)
    for batch in (1, 3, 8):
        found = fit(images[order], order.tolist(), batch)
        assert torch.equal(found.spectra, expected.spectra)
        assert torch.equal(found.losses, expected.losses)


def test_pose_of_an_image_does_not_depend_on_its_batch():
    generator = torch.Generator().manual_seed(3)
    images = lay_out(draw_part(), draw_poses(9, generator, (96, 96)),
                     generator)
    search = fit(images)
    alone = torch.cat([search(image[None]) for image in images])
    assert torch.equal(alone, search(images))


def fit_share(rank, world, images):
    numbers = list(range(rank, len(images), world))
    search = fit(images[numbers], numbers)
    return search.spectra, search.losses


@pytest.mark.parametrize('world', [2, 3, 4])
def test_fit_is_the_same_on_several_processes(run_processes, world):
    generator = torch.Generator().manual_seed(4)
    images = lay_out(draw_part(), draw_poses(7, generator, (96, 96)),
                     generator)
    expected = fit(images)
    for spectra, losses in run_processes(world, fit_share, world, images):
        assert torch.equal(spectra, expected.spectra)
        assert torch.equal(losses, expected.losses)


def test_state_dict_has_all_that_is_found():
    generator = torch.Generator().manual_seed(5)
    images = lay_out(draw_part(), draw_poses(9, generator, (96, 96)),
                     generator)
    search = fit(images)
    other = PoseSearch(side=SIDE)
    assert not other.is_fitted
    other.load_state_dict(search.state_dict())
    assert torch.equal(other(images), search(images))


@pytest.mark.parametrize('damage', [
    lambda spectra: spectra[:1], lambda spectra: spectra[:2],
    lambda spectra: spectra[:, :36], lambda spectra: spectra[..., :64, :33, :],
    lambda spectra: spectra * torch.nan
])
def test_damaged_spectra_are_refused(damage):
    generator = torch.Generator().manual_seed(5)
    images = lay_out(draw_part(), draw_poses(9, generator, (96, 96)),
                     generator)
    state = fit(images).state_dict()
    state['spectra'] = damage(state['spectra']).clone()
    with pytest.raises(InputError, match='spectra'):
        PoseSearch(side=SIDE).load_state_dict(state)


def test_two_kinds_of_parts_in_blocks_stay_in_view():
    generator = torch.Generator().manual_seed(7)
    other = torch.full((3, 96, 96), 0.7)
    other[:, 30:66, 40:56] = 0.1
    other[:, 30:40, 56:70] = 0.4
    images = torch.cat([
        lay_out(part, draw_poses(8, generator, (96, 96), max_shift=0.15),
                generator) for part in (draw_part((96, 96)), other)
    ])
    aligned = warp(images, fit(images)(images))
    dark = (images[:, 0] < 0.55).sum((1, 2))
    assert ((aligned[:, 0] < 0.55).sum((1, 2)) > 0.8 * dark).all()


def test_images_must_fill_half_of_the_common_frame(monkeypatch):
    generator = torch.Generator().manual_seed(8)
    images = torch.randn(8, 3, 96, 96, generator=generator)
    # All images show the same in one corner, and nothing else in common.
    images[:, :, :40, :40] = images[:1, :, :40, :40]

    def move_out(self, edges, num_angles):
        spectra = edges.new_ones(3, num_angles, 2, 2) + 0j
        number = len(edges)
        return spectra, (torch.zeros(number), torch.full((number, 2), -1.2))

    monkeypatch.setattr(PoseSearch, '_align', move_out)
    assert not fit(images).finds_poses
    monkeypatch.setattr('mmad.models.layers.pose_search._MIN_SHOWN', 0)
    assert fit(images).finds_poses
