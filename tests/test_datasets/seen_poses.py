"""Poses of plates, as they are seen."""
import cv2
import numpy as np


def find_pose(image):
    """Center in pixels and angle in degrees of a plate, by its colors."""
    blue = image[..., 2].astype(int) - image[..., 0]
    plate = cv2.medianBlur(image, 5)[..., 2] > 90
    y, x = np.argwhere(plate).mean(0)
    # The belt is bluish too, the ink is further down on an upright plate.
    down, right = np.argwhere(plate & (blue > 30)).mean(0) - (y, x)
    return x, y, np.rad2deg(np.arctan2(-right, down))
