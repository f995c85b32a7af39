from torch import Tensor, nn

from mmad.models.backbones import build_backbone
from mmad.models.layers.anomaly_map import AnomalyMap
from mmad.models.layers.channel_reduction import ChannelReduction
from mmad.models.layers.position_gaussians import PositionGaussians
from mmad.registry import MODELS

from .fit_detector import FitDetector


@MODELS.register_module()
class PaDiM(FitDetector):
    """PaDiM: one Gaussian per position, and distances from it.

    Implementation of `PaDiM: a Patch Distribution Modeling Framework for
    Anomaly Detection and Localization <https://arxiv.org/abs/2011.08785>`_
    (Defard et al., ICPR 2020 workshops).

    The features of all stages at a position of the first stage's grid are
    concatenated and reduced, and a Gaussian is fitted to those of the normal
    images there (eq. 1). A new image's map is the Mahalanobis distance at
    each position (eq. 2), up-sampled and smoothed; its score is the maximum
    of the map.

    Args:
        backbone (dict | nn.Module): Frozen network with the wanted stages.
        reduction (str): ``'random'``, ``'pca'`` or ``'none'``; see
            :class:`~mmad.models.layers.ChannelReduction`. ``'pca'`` is
            fitted in two epochs. Defaults to ``'random'``.
        dim (int, optional): Channels that are kept; None for ``'none'``.
            Defaults to 100, the paper's for ResNet-18.
        epsilon (float): Added to the diagonal of the covariances. Defaults
            to 0.01.
        seed (int): Of the random subset. Defaults to 0.
        sigma (float): Smoothing of the maps in input pixels. Defaults to 4.
        data_preprocessor (dict, optional): Defaults to None.

    Raises:
        InputError: An argument is out of its range.
    """

    def __init__(self,
                 backbone: dict | nn.Module,
                 reduction: str = 'random',
                 dim: int | None = 100,
                 epsilon: float = 0.01,
                 seed: int = 0,
                 sigma: float = 4.0,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self.backbone = build_backbone(backbone)
        self.reduction = ChannelReduction(reduction, dim, seed)
        self.gaussians = PositionGaussians(epsilon)
        self.anomaly_map = AnomalyMap(sigma)

    def fingerprint(self) -> dict:
        return dict(
            super().fingerprint(),
            reduction=self.reduction.kind,
            dim=self.reduction.dim,
            epsilon=self.gaussians.epsilon)

    def extract(self, inputs: Tensor) -> Tensor:
        return self.reduction(self.backbone(inputs))

    def score(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        distances = self.gaussians(self.extract(inputs))
        maps = self.anomaly_map(distances, inputs.shape[-2:])
        return maps.amax((1, 2, 3)), maps
