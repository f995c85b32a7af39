"""Outlines of masks."""
import cv2
import numpy as np


def draw_outline(image: np.ndarray,
                 mask: np.ndarray,
                 thickness: int = 1) -> None:
    """Draw a white line with black edges around the regions of a mask.

    It is seen on bright and dark images, also without colors. The line goes
    around the regions and leaves them untouched, as far as their holes and
    the ends of the image allow.

    Args:
        image (np.ndarray): ``(H, W, 3)`` uint8, drawn into.
        mask (np.ndarray): ``(H, W)`` bool.
        thickness (int): Of the line and of each of its edges, in pixels.
            Defaults to 1.
    """
    inside = np.ascontiguousarray(mask, np.uint8)
    if not inside.any():
        return
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE,
                                       (2 * thickness + 1, 2 * thickness + 1))
    for color in (0, 255, 0):
        outside = np.asarray(cv2.dilate(inside, kernel), np.uint8)
        image[inside != outside] = color
        inside = outside
