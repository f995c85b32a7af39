from collections.abc import Callable

import torch
from torch import Tensor

from .coreset import project_by_image, random_projection
from .covering_gaps import covering_gaps


class SelectionSpace:
    """The space that patches are selected in, a random projection.

    Args:
        dim (int, optional): Of the space; None for that of the patches.
        seed (int): Of the projection.
    """

    def __init__(self, dim: int | None, seed: int) -> None:
        self.dim = dim
        self.seed = seed
        self._matrix = torch.empty(0, 0)

    def project(self,
                rows: Tensor,
                images: Tensor,
                device: torch.device | None = None,
                release: Callable[[], None] = lambda: None) -> Tensor:
        """Bring patches into the space, image by image.

        Args:
            rows (Tensor): ``(N, D)``, float32 or float16.
            images (Tensor): ``(N,)`` int64, the image of each; those of one
                are side by side.
            device (torch.device, optional): Where to compute. Defaults to
                None: where the patches are.
            release (Callable): Is called after each image. Defaults to a
                function that does nothing.

        Returns:
            Tensor: ``(N, dim)`` float32 on the device of ``rows``.
        """
        if self.dim is None:
            return rows.float()
        if len(self._matrix) != rows.shape[1]:
            self._matrix = random_projection(rows.shape[1], self.dim,
                                             self.seed)
        return project_by_image(rows, images,
                                self._matrix.to(device or rows.device),
                                release)

    def rank(self, rows: Tensor, image: int, floor: float,
             limit: int) -> tuple[Tensor, float]:
        """Rank the patches of an image by their :func:`covering_gaps`."""
        images = torch.full((len(rows), ), image)
        return covering_gaps(self.project(rows, images), floor, limit)

    def draw(self, rows: Tensor, image: int, *_) -> tuple[Tensor, float]:
        """Rank the patches of an image at random, by numbers in [0, 1)."""
        generator = torch.Generator().manual_seed(self.seed + image)
        return torch.rand(
            len(rows), generator=generator, dtype=torch.float64), 0.0
