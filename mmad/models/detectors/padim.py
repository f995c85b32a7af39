from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.models.backbones import build_backbone
from mmad.models.layers.anomaly_map import AnomalyMap
from mmad.models.layers.channel_reduction import ChannelReduction
from mmad.models.layers.position_gaussians import PositionGaussians
from mmad.models.layers.stage_gaussians import StageGaussians
from mmad.registry import MODELS
from mmad.utils.arguments import check_choice

from .fit_detector import Features, FitDetector


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
        reduction (str): ``'random'``, ``'pca'``, ``'given'`` or ``'none'``;
            see :class:`~mmad.models.layers.ChannelReduction`. ``'pca'`` is
            fitted in two epochs. Defaults to ``'random'``.
        dim (int, optional): Channels that are kept; None for ``'given'`` and
            ``'none'``. Defaults to 100, the paper's for ResNet-18.
        indices (Sequence[int], optional): Channels of the concatenated
            stages that are kept, for ``'given'``. Defaults to None.
        fusion (str): ``'concat'`` is as above. ``'sum_of_maps'``, the paper's
            comparison with it, fits Gaussians to each stage on its own grid
            and sums the maps; it needs ``'none'``. Defaults to
            ``'concat'``.
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
                 indices: Sequence[int] | None = None,
                 fusion: str = 'concat',
                 epsilon: float = 0.01,
                 seed: int = 0,
                 sigma: float = 4.0,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        check_choice('fusion', fusion, ('concat', 'sum_of_maps'))
        if fusion == 'sum_of_maps' and reduction != 'none':
            raise InputError(
                '`fusion` "sum_of_maps" takes all channels of each stage; set '
                "`reduction='none'` and `dim=None`.")
        self.fusion = fusion
        self.backbone = build_backbone(backbone)
        self.reduction = ChannelReduction(reduction, dim, seed, indices)
        self.gaussians: PositionGaussians | StageGaussians
        if fusion == 'concat':
            self.gaussians = PositionGaussians(epsilon)
        else:
            self.gaussians = StageGaussians(len(self.backbone.stages), epsilon)
        self.anomaly_map = AnomalyMap(sigma)

    def fingerprint(self) -> dict:
        found = dict(
            super().fingerprint(),
            reduction=self.reduction.kind,
            dim=self.reduction.dim,
            epsilon=self.gaussians.epsilon)
        # Checkpoints of one Gaussian may be older than the choice.
        return found if self.fusion == 'concat' else dict(
            found, fusion=self.fusion)

    def extract(self, inputs: Tensor) -> Features:
        stages = self.backbone(inputs)
        return self.reduction(stages) if self.fusion == 'concat' else stages

    def score(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        distances = self.gaussians(self.extract(inputs))
        if self.fusion == 'concat':
            distances = [distances]
        maps = torch.stack([
            self.anomaly_map(grid, inputs.shape[-2:]) for grid in distances
        ]).sum(0)
        return maps.amax((1, 2, 3)), maps
