import math
from typing import NamedTuple

import numpy as np

# A plate at any pose is so small that it stays in the image.
_SCALE = 0.6
_SHIFT = 38


class PlatePose(NamedTuple):
    """Where a plate of the demo lies in the image.

    Args:
        angle (float): Degrees by which the plate is turned clockwise.
        x (float): Shift of its center from that of the image to the right,
            in units of 1/256 of the side of the image.
        y (float): The same, down.
        scale (float): Factor of all lengths on the plate.
    """
    angle: float
    x: float
    y: float
    scale: float

    @classmethod
    def draw(cls,
             rng: np.random.Generator,
             pose_rng: np.random.Generator | None = None) -> 'PlatePose':
        """Draw a pose that is nearly upright and centered, or any pose.

        Args:
            rng (np.random.Generator): Of the small deviations.
            pose_rng (np.random.Generator, optional): Of the angle, uniform
                over the circle, and of the shift of a smaller plate. Defaults
                to None: upright, centered and large.
        """
        angle = rng.uniform(-1, 1)
        scale = rng.uniform(0.99, 1.01)
        x, y = rng.uniform(-2, 2, 2).tolist()
        if pose_rng is not None:
            angle += pose_rng.uniform(-180, 180)
            scale *= _SCALE
            x += pose_rng.uniform(-_SHIFT, _SHIFT)
            y += pose_rng.uniform(-_SHIFT, _SHIFT)
        return cls(angle, x, y, scale)

    def coordinates(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the coordinates ``(u, v)`` of each pixel on the plate.

        Args:
            size (int): Side of the image in pixels.

        Returns:
            tuple[np.ndarray, np.ndarray]: Each ``(size, size)``, float32.
        """
        steps = np.mgrid[:size, :size].astype(np.float32)
        y, x = (steps + 0.5) * 256 / size - 128
        x, y = x - self.x, y - self.y
        turn = math.radians(self.angle)
        cos, sin = math.cos(turn) / self.scale, math.sin(turn) / self.scale
        return cos * x + sin * y, cos * y - sin * x

    def to_upright(self, size: int) -> np.ndarray:
        """Return the map from pixels of the upright image to this image.

        Args:
            size (int): Side of both images in pixels.

        Returns:
            np.ndarray: ``(2, 3)``, for :func:`cv2.warpAffine` with
            ``WARP_INVERSE_MAP``. The scale stays as it is.
        """
        turn = math.radians(self.angle)
        linear = np.array([[math.cos(turn), -math.sin(turn)],
                           [math.sin(turn), math.cos(turn)]])
        middle = np.full(2, (size - 1) / 2)
        center = middle + np.array([self.x, self.y]) * size / 256
        return np.column_stack([linear, center - linear @ middle])
