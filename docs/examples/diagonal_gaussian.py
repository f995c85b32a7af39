"""A worked example of a new method: one diagonal Gaussian per position."""
import torch
from torch import Tensor

from mmad.models import FitDetector, build_backbone
from mmad.models.layers import (
    AnomalyMap,
    FittedModule,
    PatchFeatures,
    all_reduce_,
)
from mmad.registry import MODELS


class DiagonalGaussians(FittedModule):
    """Mean and variance of each feature at each position.

    Args:
        floor (float): Added to every variance. Defaults to 0.01.

    Attributes:
        mean (Tensor): ``(D, h, w)``.
        std (Tensor): ``(D, h, w)``.
    """

    def __init__(self, floor: float = 0.01) -> None:
        super().__init__()
        self.floor = floor
        self.register_fitted('mean', ndim=3)
        self.register_fitted('std', ndim=3)

    def reset(self) -> None:
        super().reset()
        self._sums = 0

    def update(self, features: Tensor, ids: list[int]) -> None:
        features = features.double()
        self._sums += torch.stack([features.sum(0), features.square().sum(0)])

    def finalize(self) -> None:
        mean, square = all_reduce_(self._sums) / self.num_images
        self.mean = mean.float()
        self.std = (square - mean.square() + self.floor).sqrt().float()

    def forward(self, features: Tensor) -> Tensor:
        """Distances ``(B, 1, h, w)`` in standard deviations."""
        deviations = (features - self.mean) / self.std
        return deviations.square().mean(1, keepdim=True).sqrt()


@MODELS.register_module()
class DiagonalGaussian(FitDetector):
    """Distance from the mean feature of a position, in standard deviations.

    Args:
        backbone (dict): Frozen network with the wanted stages.
        floor (float): Added to every variance. Defaults to 0.01.
        sigma (float): Smoothing of the maps in input pixels. Defaults to 4.
        data_preprocessor (dict, optional): Defaults to None.
    """

    def __init__(self,
                 backbone: dict,
                 floor: float = 0.01,
                 sigma: float = 4.0,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self.backbone = build_backbone(backbone)
        self.patch_features = PatchFeatures()
        self.gaussians = DiagonalGaussians(floor)
        self.anomaly_map = AnomalyMap(sigma)

    def extract(self, inputs: Tensor) -> Tensor:
        return self.patch_features(self.backbone(inputs))

    def score(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        distances = self.gaussians(self.extract(inputs))
        maps = self.anomaly_map(distances, inputs.shape[-2:])
        return maps.amax((1, 2, 3)), maps
