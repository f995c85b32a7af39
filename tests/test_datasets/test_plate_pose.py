import math

import cv2
import numpy as np
import pytest

from mmad.datasets.plate_pose import PlatePose

UPRIGHT = PlatePose(0, 0, 0, 1)


def value_at(coordinates, x, y):
    """Interpolate coordinates between pixels."""
    return [
        cv2.remap(part, np.float32([[x]]), np.float32([[y]]),
                  cv2.INTER_LINEAR)[0, 0] for part in coordinates
    ]


@pytest.mark.parametrize('size', [64, 256, 300])
def test_center(size):
    pose = PlatePose(37, 20, -12, 0.7)
    middle = (size - 1) / 2
    found = value_at(
        pose.coordinates(size), middle + 20 * size / 256,
        middle - 12 * size / 256)
    assert found == pytest.approx([0, 0], abs=1e-3)


def test_upright_coordinates_point_right_and_down():
    u, v = UPRIGHT.coordinates(4)
    assert u[0].tolist() == v[:, 0].tolist() == [-96, -32, 32, 96]
    assert (u == u[0]).all()
    assert (v == v[:, :1]).all()
    assert u.dtype == v.dtype == np.float32


def test_turned_clockwise_the_right_of_a_plate_is_down():
    u, v = PlatePose(90, 0, 0, 1).coordinates(4)
    right, down = UPRIGHT.coordinates(4)
    np.testing.assert_allclose(u, down, atol=1e-4)
    np.testing.assert_allclose(v, -right, atol=1e-4)


def test_a_small_plate_has_wide_pixels():
    for small, large in zip(
            PlatePose(25, 0, 0, 0.5).coordinates(8),
            PlatePose(25, 0, 0, 1).coordinates(8)):
        np.testing.assert_allclose(small, 2 * large, rtol=1e-5)


@pytest.mark.parametrize('size', [64, 256])
def test_the_upright_image_shows_the_same_place(size):
    pose = PlatePose(-140, 30, 11, 0.6)
    upright = PlatePose(0, 0, 0, 0.6).coordinates(size)
    turned = pose.coordinates(size)
    matrix = pose.to_upright(size)
    for x, y in [(0.4, 0.5), (0.5, 0.6), (0.6, 0.45)]:
        place = np.array([x, y]) * size
        assert value_at(turned, *(matrix @ [*place, 1])) == pytest.approx(
            value_at(upright, *place), abs=0.01)


def test_drawn_poses_are_nearly_upright():
    rng = np.random.default_rng(0)
    poses = np.array([PlatePose.draw(rng) for _ in range(200)])
    assert (np.abs(poses) <= [1, 2, 2, 1.01]).all()
    assert (poses[:, 3] >= 0.99).all()
    assert (np.ptp(poses, 0) > [1, 2, 2, 0.01]).all()


def test_any_pose_leaves_what_is_drawn_next_as_it_is():
    for seed in range(50):
        one, other = (np.random.default_rng(seed) for _ in range(2))
        upright = PlatePose.draw(one)
        turned = PlatePose.draw(other, np.random.default_rng(seed + 50))
        assert one.random() == other.random()
        # Its round corners are still in the image.
        reach = (86 * math.sqrt(2) + 20) * turned.scale
        assert turned.scale < 0.62 * upright.scale
        assert max(abs(turned.x), abs(turned.y)) + reach < 256 / 2
