from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.models.backbones import build_backbone
from mmad.models.build import build_part
from mmad.models.layers.affine import (
    compose_affine,
    describe_affine,
    invert_affine,
    warp,
)
from mmad.models.layers.anomaly_map import AnomalyMap
from mmad.models.layers.channel_reduction import ChannelReduction
from mmad.models.layers.coarse_alignment import (
    CoarseAlignment,
    align_stages,
    check_backbone,
)
from mmad.models.layers.fine_alignment import FineAlignment, check_stages
from mmad.models.layers.gather_batch import gather_batch
from mmad.models.layers.pose_search import PoseSearch
from mmad.models.layers.position_gaussians import PositionGaussians
from mmad.models.layers.spatial_transformer import SpatialTransformer
from mmad.registry import MODELS
from mmad.utils.arguments import as_arguments, check_choice

from .fit_detector import Features, FitDetector


@MODELS.register_module()
class FYD(FitDetector):
    """FYD: align images and features, then fit PaDiM's Gaussians to them.

    After `Focus Your Distribution: Coarse-to-Fine Non-Contrastive Learning
    for Anomaly Detection and Localization
    <https://arxiv.org/abs/2110.04538>`_ (Zheng et al., ICME 2022). There is
    no code of the authors', and we know the paper from its abstract and from
    secondary sources; where these are silent, the choice is ours.

    - Paper: two stages, coarse alignment of images and of features, then fine
      alignment, which makes features at all corresponding positions of a
      batch similar, without negatives and from normal images only.
    - As secondary sources describe it: coarse alignment of images (ICA) is a
      spatial transformer with a loss of its own, the distance of each two
      images at each pixel; that of features (FCA) is a spatial transformer
      behind each stage, without a loss of its own, trained through the fine
      stage (FAS). Scores are PaDiM's.
    - Ours: the layers, limits, pairs and weights, and the frames, see
      ``gaussian_frame``.

    Each of the three can be left out; without any it is PaDiM, and nothing is
    trained. Several processes align the images of all their batches with each
    other, as one process with their total batch would.

    For an image that is left out of the fit, what was trained stays as it is.
    It has seen the image, whose score is, if anything, slightly too low.

    Args:
        backbone (dict | nn.Module): Network with the wanted stages, from the
            first to the last. Trained if there is ``fas``, its normalization
            statistics excepted. For ``fca`` a
            :class:`~mmad.models.SequentialBackbone`.
        ica (dict, optional): Arguments of the
            :class:`~mmad.models.layers.SpatialTransformer` of the images.
            Defaults to None: off.
        fca (dict, optional): Those of the transformers of the stages.
            Defaults to None: off.
        fas (dict, optional): ``stages``, names of those whose features are
            compared, and ``pair`` of
            :class:`~mmad.models.layers.FineAlignment`. Defaults to None: off.
        pose_search (dict, optional): Arguments of the
            :class:`~mmad.models.layers.PoseSearch` that ``ica`` starts from.
            Where it finds nothing to align, neither does ICA. Defaults to
            None: ICA starts from the identity.
        pair_loss (dict | nn.Module, optional): Of ICA. Defaults to None:
            :class:`~mmad.models.PairLoss`.
        alignment_loss (dict | nn.Module, optional): Of FAS. Defaults to None:
            :class:`~mmad.models.AlignmentLoss`.
        mean_transform_loss (dict | nn.Module, optional): Of the transforms
            of ICA and of FCA. Defaults to None:
            :class:`~mmad.models.MeanTransformLoss`.
        gaussian_frame (str): ``'aligned'``: all stages are brought into the
            frame behind the last transformer, Gaussians are fitted there, and
            distances are brought back to the image. ``'original'``: features
            are brought back to the image before anything is fitted, as
            RegAD's code does. Defaults to ``'aligned'``.
        reduction (str): As in :class:`PaDiM`. Defaults to ``'random'``.
        dim (int, optional): As in :class:`PaDiM`. Defaults to 100.
        indices (Sequence[int], optional): As in :class:`PaDiM`. Defaults to
            None.
        epsilon (float): As in :class:`PaDiM`. Defaults to 0.01.
        seed (int): Of the random subset of channels. Defaults to 0.
        sigma (float): Smoothing of the maps in input pixels. Defaults to 4.
        data_preprocessor (dict, optional): Defaults to None.

    Raises:
        InputError: An argument is out of its range or does not fit the
            others.
    """

    def __init__(self,
                 backbone: dict | nn.Module,
                 ica: dict | None = None,
                 fca: dict | None = None,
                 fas: dict | None = None,
                 pose_search: dict | None = None,
                 pair_loss: dict | nn.Module | None = None,
                 alignment_loss: dict | nn.Module | None = None,
                 mean_transform_loss: dict | nn.Module | None = None,
                 gaussian_frame: str = 'aligned',
                 reduction: str = 'random',
                 dim: int | None = 100,
                 indices: Sequence[int] | None = None,
                 epsilon: float = 0.01,
                 seed: int = 0,
                 sigma: float = 4.0,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        check_choice('gaussian_frame', gaussian_frame, ('aligned', 'original'))
        if fca is not None and fas is None:
            raise InputError('`fca` is trained through `fas` and has no loss '
                             'of its own; give both, or leave out `fca`.')
        if pose_search is not None and ica is None:
            raise InputError('`pose_search` is where `ica` starts from; give '
                             'both, or leave out `pose_search`.')
        self.backbone = build_backbone(backbone)
        self.reduction = ChannelReduction(reduction, dim, seed, indices)
        self.gaussians = PositionGaussians(epsilon)
        self.anomaly_map = AnomalyMap(sigma)
        self.gaussian_frame = gaussian_frame
        stages = self.backbone.stages
        self.ica = self.fca = self.fas = None
        if ica is not None:
            self.ica = SpatialTransformer(3, **as_arguments('ica', ica))
        self.pose_search = None
        if pose_search is not None:
            self.pose_search = PoseSearch(
                **as_arguments('pose_search', pose_search))
        self.pair_loss = build_part(pair_loss or dict(type='PairLoss'))
        if fas is not None:
            self.backbone.unfreeze()
            channels = dict(zip(stages, self.backbone.channels))
        if fca is not None:
            check_backbone(self.backbone)
            self.fca = nn.ModuleDict({
                stage:
                SpatialTransformer(channels[stage], **as_arguments('fca', fca))
                for stage in stages
            })
        if fas is not None:
            fas = dict(as_arguments('fas', fas))
            compared = fas.pop('stages', stages[-1:])
            check_stages(compared, stages)
            self.fas = nn.ModuleDict({
                stage:
                FineAlignment(channels[stage], **fas)
                for stage in compared
            })
        self.alignment_loss = build_part(
            alignment_loss or dict(type='AlignmentLoss'))
        self.mean_transform_loss = build_part(
            mean_transform_loss or dict(type='MeanTransformLoss'))

    def fingerprint(self) -> dict:
        fca: Any = self.fca
        return dict(
            super().fingerprint(),
            reduction=self.reduction.kind,
            dim=self.reduction.dim,
            epsilon=self.gaussians.epsilon,
            ica=self.ica and self.ica.settings(),
            pose_search=self.pose_search and self.pose_search.settings(),
            fca=fca and fca[self.backbone.stages[0]].settings(),
            fas=self.fas and list(self.fas),
            gaussian_frame=self.gaussian_frame)

    @property
    def needs_training(self) -> bool:
        return self.ica is not None or self.fas is not None

    def begin_fit(self, num_images: int, batch_size: int) -> None:
        """Forget an earlier fit, see :meth:`FitDetector.begin_fit`.

        Raises:
            InputError: There are more processes than images, or batches of
                one image, of which training would learn nothing.
        """
        total = min(batch_size * get_world_size(), num_images)
        if self.needs_training and total < 2:
            raise InputError(
                'FYD aligns the images of a batch with each other, so the '
                '`batch_size` of the train_dataloader must be at least 2 over '
                f'all processes, got {batch_size}, and so must the training '
                f'images, of which there are {num_images}.')
        super().begin_fit(num_images, batch_size)

    def train_step(self, data: dict, optim_wrapper=None) -> dict:
        if not self.needs_training:
            return super().train_step(data)
        return BaseModel.train_step(self, data, optim_wrapper)

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """The losses of ICA and FAS, and statistics of the transforms."""
        if not self.needs_training:
            return super().loss(inputs, data_samples)
        if len(inputs) * get_world_size() == 1:
            # There is no other to align it with, and statistics of one image
            # would spoil those of the normalization.
            return dict(loss_alone=_no_loss(self))
        log: dict[str, Tensor] = {}
        image, matrix, residual = self._run_ica(inputs)
        if matrix is not None and residual is not None:
            log['loss_pair'] = self.pair_loss(gather_batch(image))
            self._log_transform('ica', matrix, log, residual)
        elif self.ica is not None:
            # Processes wait for the gradients of all parameters.
            log['loss_pair'] = _no_loss(self.ica)
        if self.fas is None:
            return log
        aligned = align_stages(image, matrix, self.backbone, self.fca)
        log['loss_alignment'] = sum(
            self.alignment_loss(*compare(aligned.moved[stage]))
            for stage, compare in self.fas.items())
        frame = aligned.stages_frame
        if frame is not None:
            self._log_transform('fca', frame, log, *aligned.matrices[1:])
        return log

    def _log_transform(self, name: str, matrix: Tensor, log: dict, *learned:
                       Any) -> None:
        # Of each factor by itself: means that only cancel in the product would
        # still move the maps between the stages.
        for factor in learned:
            log['loss_mean_transform'] = (
                log.get('loss_mean_transform', 0) +
                self.mean_transform_loss(gather_batch(factor)))
        moved = describe_affine(gather_batch(matrix.detach()))
        for part, values in moved.items():
            log[f'{name}_{part}_mean'] = values.mean()
            log[f'{name}_{part}_std'] = values.std(correction=0)

    def align(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Show images as the last stage sees them.

        Args:
            inputs (Tensor): Preprocessed images ``(B, 3, H, W)``.

        Returns:
            tuple[Tensor, Tensor]: The images aligned, ``(B, 3, H, W)``, and
            the matrices ``(B, 3, 3)`` that do it, see
            :mod:`~mmad.models.layers.affine`.
        """
        matrix = self._coarse_alignment(inputs).frame
        if matrix is None:
            matrix = torch.eye(3).to(inputs).expand(len(inputs), 3, 3)
        return warp(inputs, matrix), matrix

    def extract(self, inputs: Tensor) -> Features:
        return self._features(self._coarse_alignment(inputs))

    def _run_ica(
            self,
            inputs: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Align images; also return the transform and the learned part."""
        if self.ica is None:
            return inputs, None, None
        if self.pose_search is None:
            image, matrix = self.ica(inputs)
            return image, matrix, matrix
        if not self.pose_search.finds_poses:
            return inputs, None, None
        start = self.pose_search(inputs)
        residual = self.ica.locate(warp(inputs, start))
        matrix = compose_affine(start, residual)
        return warp(inputs, matrix), matrix, residual

    def _coarse_alignment(self, inputs: Tensor) -> CoarseAlignment:
        image, matrix, _ = self._run_ica(inputs)
        return align_stages(image, matrix, self.backbone, self.fca)

    def _features(self, aligned: CoarseAlignment) -> Tensor:
        if self.gaussian_frame == 'aligned':
            return self.reduction(aligned.in_last_frame())
        return self.reduction(aligned.in_image_frame())

    def score(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        aligned = self._coarse_alignment(inputs)
        distances = self.gaussians(self._features(aligned))
        if self.gaussian_frame == 'aligned' and aligned.frame is not None:
            # What the frame does not show is not scored.
            distances = warp(distances, invert_affine(aligned.frame), 'zeros')
        maps = self.anomaly_map(distances, inputs.shape[-2:])
        return maps.amax((1, 2, 3)), maps


def _no_loss(module: nn.Module) -> Tensor:
    parameters = [one for one in module.parameters() if one.requires_grad]
    return 0 * torch.stack([one.sum() for one in parameters]).sum()
