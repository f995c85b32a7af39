import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Saturation:
    """How many pixels of a defective region have to be found.

    What is found beyond the saturation area of a region does not count, since
    for some defects, such as a missing object, it is enough to point at a
    part of where it could be.

    Source: Bergmann et al., "Beyond Dents and Scratches", IJCV 2022.

    Args:
        threshold (float): Pixels of the original image, or a share of the
            region in (0, 1].
        is_relative (bool): Whether it is a share of the region.
    """

    threshold: float
    is_relative: bool

    def area(self, region_area: int, scale: float = 1.0) -> float:
        """Compute the saturation area of a region.

        Args:
            region_area (int): Number of pixels of the region, at least 1.
            scale (float): How many of them one pixel of the original image
                corresponds to. Defaults to 1: the original image. There, a
                share of the region is rounded down to whole pixels, at least
                1, as in the authors' evaluation.

        Returns:
            float: Pixels, above 0 and at most ``region_area``.
        """
        if not self.is_relative:
            return min(self.threshold * scale, region_area)
        area = self.threshold * region_area
        return max(1, math.floor(area)) if scale == 1 else area
