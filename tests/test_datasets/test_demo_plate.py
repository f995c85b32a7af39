import cv2
import numpy as np
import pytest
from seen_poses import find_pose

from mmad.datasets.demo_plate import DEFECT_TYPES, any_pose, render


def test_pictures_differ():
    images = [
        render(0, split, index)[0].tobytes() for split in ('train', 'test')
        for index in range(3)
    ]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize('defect_type', DEFECT_TYPES)
@pytest.mark.parametrize('index', range(6))
def test_defect_is_where_the_mask_is(defect_type, index):
    sound, empty = render(0, 'test', index)
    image, mask = render(0, 'test', index, defect_type)
    assert not empty.any()
    assert 10 < (mask > 0).sum() < 1500
    change = np.abs(image.astype(int) - sound).max(2)
    assert np.quantile(change[mask > 0], 0.8) > 8
    near = cv2.dilate(mask, np.ones((25, 25))) > 0
    assert not change[~near].any()


@pytest.mark.parametrize('split', ['train', 'test'])
@pytest.mark.parametrize('index', range(5))
def test_plate_lies_where_its_pose_says(split, index):
    image, _ = render(0, split, index, at_any_pose=True)
    pose = any_pose(0, split, index)
    x, y, angle = find_pose(image)
    assert abs(x - 127.5 - pose.x) < 1.5
    assert abs(y - 127.5 - pose.y) < 1.5
    assert abs((angle - pose.angle + 180) % 360 - 180) < 2
    # No part of the plate is outside.
    frame = cv2.medianBlur(image, 5)[..., 2]
    frame[2:-2, 2:-2] = 0
    assert frame.max() < 90


def test_angles_are_uniform():
    angles = np.array(
        [any_pose(0, 'train', index).angle for index in range(400)])
    quarters = np.bincount(((angles + 360) % 360 // 90).astype(int))
    assert quarters.min() > 70
    assert len(quarters) == 4
