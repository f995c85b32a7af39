"""A worked example of a new method: one diagonal Gaussian per position."""
import torch
from mmengine.dist import all_reduce
from torch import Tensor

from mmad.models import FitDetector
from mmad.models.layers import AnomalyMap, PatchFeatures, resize_buffers
from mmad.registry import MODELS


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
        self.backbone = MODELS.build(backbone)
        self.patch_features = PatchFeatures()
        self.anomaly_map = AnomalyMap(sigma)
        self.floor = floor
        self.register_buffer('mean', torch.empty(0))
        self.register_buffer('std', torch.empty(0))

    def signature(self) -> dict:
        return dict(
            detector='DiagonalGaussian',
            backbone=self.backbone.name,
            stages=list(self.backbone.stages))

    def extract(self, inputs: Tensor) -> Tensor:
        return self.patch_features(self.backbone(inputs))

    def begin_fit(self, num_images: int, batch_size: int) -> None:
        super().begin_fit(num_images, batch_size)
        self._sums = 0

    def collect(self, features: Tensor, sample_ids: list[int]) -> None:
        features = features.double()
        self._sums += torch.stack([features.sum(0), features.square().sum(0)])

    def estimate(self) -> None:
        all_reduce(self._sums)
        mean, square = self._sums / self.num_images
        self.mean = mean.float()
        self.std = (square - mean.square() + self.floor).sqrt().float()

    def score(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted()
        deviations = (self.extract(inputs) - self.mean) / self.std
        grid = deviations.square().mean(1, keepdim=True).sqrt()
        maps = self.anomaly_map(grid, inputs.shape[-2:])
        return maps.flatten(1).amax(1), maps

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        resize_buffers(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
