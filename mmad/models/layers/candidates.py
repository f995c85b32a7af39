import numpy as np

from .center_distances import add_center
from .nearest_centers import NO_ROW, Key, NearestCenters


class Candidates:
    """The few farthest rows, out of which the next centers are taken.

    Only their distances follow each new center; those of the other rows are
    brought up to date when the candidates are used up.

    Args:
        nearest_centers (NearestCenters): All rows of this process.
        positions (np.ndarray): Positions of the candidates there,
            increasing.

    Attributes:
        centers (list[np.ndarray]): The centers ``(D,)`` added since.
    """

    def __init__(self, nearest_centers: NearestCenters,
                 positions: np.ndarray) -> None:
        self.nearest_centers = nearest_centers
        self.positions = np.asarray(positions, np.int64)
        self.rows = nearest_centers.rows[self.positions]
        self.sketches = nearest_centers.sketches[self.positions]
        self.nearest = nearest_centers.nearest[self.positions]
        self.centers: list[np.ndarray] = []

    def farthest(self) -> tuple[Key, np.ndarray]:
        """Return the greatest key and the values ``(D,)`` of its row."""
        if len(self.nearest):
            self._best = self.nearest.argmax()
            distance = self.nearest[self._best]
            if distance >= 0:
                row_id = self.nearest_centers.ids[self.positions[self._best]]
                return (float(distance), -float(row_id)), self.rows[self._best]
        return NO_ROW, np.zeros(self.rows.shape[1], np.float32)

    def add(self, center: np.ndarray, is_own: bool) -> None:
        """Add a center ``(D,)``.

        Args:
            center (np.ndarray): Its values.
            is_own (bool): Whether it is the row that :meth:`farthest`
                returned last, and not one of another process.
        """
        self.centers.append(center)
        if is_own:
            self.nearest[self._best] = -1
            self.nearest_centers.nearest[self.positions[self._best]] = -1
        add_center(self.rows, self.sketches, center[None],
                   self.nearest_centers.sketch(center[None])[0], self.nearest,
                   self.nearest_centers.tolerance)
