import numpy as np
import torch

from .center_distances import add_center
from .nearest_centers import NO_ROW, Key, NearestCenters
from .processes import all_gather_rows


class Candidates:
    """The few farthest rows, out of which the next centers are taken.

    Every process has those of all processes, so that all take the same
    without another exchange. Only their distances follow each new center;
    those of the other rows are brought up to date when the candidates are
    used up.

    Args:
        nearest_centers (NearestCenters): All rows of this process.
        positions (np.ndarray): Positions of its candidates there, increasing.

    Attributes:
        centers (list[np.ndarray]): The centers ``(D,)`` added since.
    """

    def __init__(self, nearest_centers: NearestCenters,
                 positions: np.ndarray) -> None:
        self.nearest_centers = nearest_centers
        ids, rows, nearest = (
            all_gather_rows(torch.from_numpy(values[positions])).numpy()
            for values in (nearest_centers.ids, nearest_centers.rows,
                           nearest_centers.nearest))
        # Of rows at the same distance, the first is taken.
        order = ids.argsort()
        self.ids, self.rows, self.nearest = ids[order], rows[order], nearest[
            order]
        self.sketches = nearest_centers.sketch(self.rows)
        self.centers: list[np.ndarray] = []

    def farthest(self) -> Key:
        """Return the greatest key."""
        if len(self.nearest):
            self._best = self.nearest.argmax()
            distance = self.nearest[self._best]
            if distance >= 0:
                return float(distance), -float(self.ids[self._best])
        return NO_ROW

    def take(self) -> None:
        """Make a center of the row whose key :meth:`farthest` returned."""
        center = self.rows[self._best]
        self.centers.append(center)
        self.nearest[self._best] = -1
        self.nearest_centers.exclude(self.ids[self._best])
        add_center(self.rows, self.sketches, center[None],
                   self.sketches[self._best], self.nearest,
                   self.nearest_centers.tolerance)
