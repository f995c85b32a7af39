import cv2
import numpy as np
import pytest
import torch

from mmad.datasets.demo_plate import any_pose, render
from mmad.evaluation.functional import pose_errors
from mmad.models.layers import warp


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def matrices_of(angles, centers, size):
    """Maps of points around the centers of parts to points of the image."""
    turns = np.deg2rad(angles)
    cos, sin = np.cos(turns), np.sin(turns)
    height, width = size
    x, y = 2 * np.asarray(centers).T - 1
    zero, one = np.zeros_like(cos), np.ones_like(cos)
    rows = [[cos, -sin * height / width, x], [sin * width / height, cos, y],
            [zero, zero, one]]
    return np.moveaxis(np.array(rows), 2, 0)


def some_poses(rng, num=30):
    return rng.uniform(-180, 180, num), rng.uniform(0.3, 0.7, (num, 2))


@pytest.mark.parametrize('size', [(64, 64), (48, 100), (100, 48)])
@pytest.mark.parametrize('common', [(0, 0.5, 0.5), (179, 0.4, 0.7),
                                    (-91, 1, 0)])
def test_exact_poses_have_no_error(rng, size, common):
    angles, centers = some_poses(rng)
    frame, = matrices_of([common[0]], [common[1:]], size)
    found = matrices_of(angles, centers, size) @ np.linalg.inv(frame)
    for errors in pose_errors(found, angles + 360, centers, size):
        assert errors.shape == (30, )
        assert errors.max() < 1e-9


@pytest.mark.parametrize('size', [(64, 64), (48, 100)])
def test_known_errors_come_back(rng, size):
    angles, centers = some_poses(rng)
    # Symmetric, so that they do not move the medians.
    off = np.append(rng.uniform(0, 60, 15), 0)
    off = np.concatenate([off[:-1], -off[:-1]])
    found = matrices_of(angles + off, centers, size)
    by_angle, by_position = pose_errors(found, angles, centers, size)
    np.testing.assert_allclose(by_angle, np.abs(off), atol=1e-9)
    assert by_position.max() < 1e-9
    # Some are aligned wrongly by a shift that is given in the image.
    shifts = np.zeros((30, 2))
    shifts[:9] = rng.uniform(-20, 20, (9, 2))
    moved = centers + shifts / size[::-1]
    found = matrices_of(angles, moved, size)
    by_angle, by_position = pose_errors(found, angles, centers, size)
    assert by_angle.max() < 1e-9
    np.testing.assert_allclose(
        by_position, np.hypot(*shifts.T) / min(size), atol=1e-9)


def test_a_smaller_aligned_frame_is_not_better(rng):
    angles, centers = some_poses(rng)
    found = matrices_of(angles, centers + rng.uniform(-0.1, 0.1, (30, 2)),
                        (64, 64))
    errors = pose_errors(found, angles, centers, (64, 64))
    smaller = pose_errors(found @ np.diag([10, 10, 1]), angles, centers,
                          (64, 64))
    np.testing.assert_allclose(smaller, errors)


def test_no_alignment_has_the_errors_of_the_poses(rng):
    angles = np.append(rng.uniform(-20, 20, 30), 0)
    angles[:30:2] = 180 + angles[:30:2]
    angles[:8] -= 360
    centers = np.full((31, 2), 0.5)
    found = np.broadcast_to(np.eye(3), (31, 3, 3))
    by_angle, by_position = pose_errors(found, angles, centers, (64, 64))
    assert 0.4 < (by_angle > 130).mean() < 0.6
    assert not by_position.any()


@pytest.mark.parametrize('index', range(3))
def test_poses_of_plates_bring_them_upright(index):
    pose = any_pose(0, 'train', index)
    image, _ = render(0, 'train', index, at_any_pose=True)
    matrix = matrices_of([pose.angle],
                         [(0.5 + pose.x / 256, 0.5 + pose.y / 256)],
                         (256, 256))
    inputs = torch.from_numpy(image).permute(2, 0, 1).float()[None]
    upright = warp(inputs, torch.from_numpy(matrix))[0].permute(1, 2, 0)
    wanted = cv2.warpAffine(
        image,
        pose.to_upright(256), (256, 256),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    inner = np.s_[60:196, 60:196]
    assert np.abs(upright.numpy()[inner] - wanted[inner]).mean() < 0.5
