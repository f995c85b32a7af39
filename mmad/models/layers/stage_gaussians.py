from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmad.utils.arguments import check_number

from .fitted_module import FittedModule
from .position_gaussians import PositionGaussians


class StageGaussians(FittedModule):
    """Gaussians at each position of each stage, on its own grid.

    The stages are independent of each other, as in the comparison of PaDiM
    (arXiv 2011.08785) between one Gaussian over all stages and a sum of the
    maps of single stages.

    Args:
        num_stages (int): Number of stages.
        epsilon (float): As in :class:`PositionGaussians`. Defaults to 0.01.

    Raises:
        InputError: ``epsilon`` is out of its range.
    """

    forgets_features = True
    progress_is_whole = True
    can_leave_out = True

    def __init__(self, num_stages: int, epsilon: float = 0.01) -> None:
        super().__init__()
        check_number('num_stages', num_stages, low=1, integer=True)
        self.epsilon = epsilon
        for number in range(num_stages):
            self.add_module(f'stage_{number}', PositionGaussians(epsilon))

    @property
    def stages(self) -> list[PositionGaussians]:
        """The Gaussians of each stage."""
        return list(self.children())  # type: ignore[arg-type]

    def reset(self) -> None:
        super().reset()
        for stage in self.stages:
            stage.num_images = self.num_images
            stage.reset()

    @property
    def num_fitted(self) -> int:
        return self.stages[0].num_fitted

    def reopen(self) -> None:
        for stage in self.stages:
            stage.num_images = self.num_images
            stage.reopen()

    def forget(self, ids: list[int], features: Any = None) -> None:
        """Take the features ``(B, C_k, h_k, w_k)`` of images out."""
        for stage, level in zip(self.stages, features, strict=True):
            stage.forget(ids, level)

    def update(self, features: Sequence[Tensor], ids: list[int]) -> None:
        """Add the features ``(B, C_k, h_k, w_k)`` of new images."""
        for stage, level in zip(self.stages, features, strict=True):
            stage.update(level, ids)

    def progress_state(self, ids: list[int]) -> dict[str, Tensor]:
        return self._progress_of_parts(ids)

    def load_progress_state(self, state: dict[str, Tensor]) -> None:
        self._load_progress_of_parts(state)

    def finalize(self) -> None:
        for stage in self.stages:
            stage.finalize()

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Mahalanobis distances of each stage.

        Args:
            features (Sequence[Tensor]): ``(B, C_k, h_k, w_k)`` each.

        Returns:
            list[Tensor]: ``(B, 1, h_k, w_k)`` each.
        """
        return [
            stage(level)
            for stage, level in zip(self.stages, features, strict=True)
        ]
