import torch
from torch import Tensor

from .nearest_neighbors import are_products_exact

# Entries of one block of the distance matrix, 64 MB.
_BLOCK = 1 << 24


class RowDistances:
    """Distances of rows from the nearest of some centers, on any device.

    The counterpart of :class:`NearestCenters` for accelerators. A matrix
    product, with a bound of its rounding, tells which centers can be the
    nearest of a row; only these are compared exactly. So distances are
    neither rounded by the number of rows or centers nor by the process.

    Args:
        rows (Tensor): ``(N, D)`` float32. Rows that the device has no room
            for may lie in the CPU's memory; they are sent in blocks.
        ids (Tensor): ``(N,)`` int64, increasing.
        device (torch.device): Where to compute.
    """

    def __init__(self, rows: Tensor, ids: Tensor,
                 device: torch.device) -> None:
        self.rows = rows
        self.ids = ids.to(device)
        self.nearest = torch.full((len(rows), ), torch.inf, device=device)
        self.num_centers = 0
        # Distances do not change by a shift, and rounding is least here.
        self.shift = rows.new_zeros(rows.shape[1], device=device)
        if len(rows):
            self.shift += rows[::1 + len(rows) // 4096].mean(0).to(device)

    def add(self, centers: Tensor, ids: Tensor) -> None:
        """Add centers, which may be rows of another process.

        Args:
            centers (Tensor): ``(K, D)`` float32 on the device.
            ids (Tensor): Ids of the rows that are centers now, on the device;
                their distances become -1 for good.
        """
        self.num_centers += len(centers)
        shifted = centers - self.shift
        norms = shifted.square().sum(1)
        step = max(1, _BLOCK // max(centers.shape))
        for rows, nearest in zip(
                self.rows.split(step), self.nearest.split(step), strict=True):
            self._compare(
                rows.to(centers.device), nearest, centers, shifted, norms)
        if len(self.ids):
            places = torch.searchsorted(self.ids, ids)
            places = places.clamp(max=len(self.ids) - 1)
            self.nearest[places[self.ids[places] == ids]] = -1

    def state(self) -> dict[str, Tensor]:
        """Tell the distances, on the CPU, for :meth:`restore`."""
        return dict(
            nearest=self.nearest.cpu().clone(),
            num_centers=torch.tensor(self.num_centers))

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up the distances of the same rows from an earlier state."""
        self.nearest.copy_(state['nearest'])
        self.num_centers = int(state['num_centers'])

    def farthest(self, count: int) -> tuple[Tensor, Tensor]:
        """Find the rows farthest from all centers, of equal ones the first.

        Args:
            count (int): Number of rows.

        Returns:
            tuple[Tensor, Tensor]: Rows ``(count, D)``, and distances and ids
            ``(count + 1, 2)`` float64 of these and of the one that follows.
            Places without a row have the distance -inf.
        """
        found = self.nearest.argsort(descending=True, stable=True)[:count + 1]
        keys = self.nearest.new_zeros(count + 1, 2, dtype=torch.float64)
        keys[:, 0] = -torch.inf
        keys[:len(found), 0] = self.nearest[found].double()
        keys[:len(found), 1] = self.ids[found].double()
        found = found[:count]
        rows = self.shift.new_zeros(count, self.rows.shape[1])
        rows[:len(found)] = self.rows[found.to(self.rows.device)].to(rows)
        return rows, keys

    def _compare(self, rows: Tensor, nearest: Tensor, centers: Tensor,
                 shifted_centers: Tensor, norms: Tensor) -> None:
        shifted = rows - self.shift
        own_norms = shifted.square().sum(1)
        squares = torch.addmm(norms, shifted, shifted_centers.T, alpha=-2)
        squares += own_norms[:, None]
        room = _rounding(rows.shape[1]) * (own_norms + norms.max())
        limit = torch.minimum(
            squares.amin(1) + room,
            nearest.clamp(min=0).square()) + room
        pairs = torch.nonzero(squares <= limit[:, None])
        for row, center in (
                part.T
                for part in pairs.split(max(1, _BLOCK // rows.shape[1]))):
            exact = exact_distances(rows[row, None], centers[center, None])
            nearest.scatter_reduce_(0, row, exact.flatten(), 'amin')


def exact_distances(a: Tensor, b: Tensor) -> Tensor:
    """Compute Euclidean distances ``(..., N, K)`` of ``(..., N, D)`` from
    ``(..., K, D)``, each from the differences and rounded alike, however many
    there are."""
    return torch.cdist(a, b, compute_mode='donot_use_mm_for_euclid_dist')


def _rounding(dim: int) -> float:
    """Bound of the rounding of a squared distance by the product, plus that
    of an exact one, relative to the sum of the squared norms."""
    bound = (2 * dim + 16) * 2.0**-23
    # TF32 and bfloat16 round the factors to 11 or 8 bits.
    if not are_products_exact():
        bound += 2.0**-6
    return bound
