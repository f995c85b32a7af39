from functools import reduce

import torch
from mmengine.dist import get_world_size
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.models.backbones import SequentialBackbone
from mmad.models.build import build_part
from mmad.models.layers.affine import (
    compose_affine,
    describe_affine,
    invert_affine,
    warp,
)
from mmad.models.layers.fine_alignment import FineAlignment
from mmad.models.layers.gather_batch import gather_batch
from mmad.models.layers.spatial_transformer import SpatialTransformer
from mmad.registry import MODELS
from mmad.utils.arguments import check_choice

from .padim import PaDiM


@MODELS.register_module()
class FYD(PaDiM):
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
        pair_loss (dict | nn.Module, optional): Of ICA. Defaults to None:
            :class:`~mmad.models.PairLoss`.
        alignment_loss (dict | nn.Module, optional): Of FAS. Defaults to None:
            :class:`~mmad.models.AlignmentLoss`.
        mean_transform_loss (dict | nn.Module, optional): Of the transforms of ICA and
            of FCA. Defaults to None: :class:`~mmad.models.MeanTransformLoss`.
        gaussian_frame (str): ``'aligned'``: all stages are brought into the
            frame behind the last transformer, Gaussians are fitted there, and
            distances are brought back to the image. ``'original'``: features
            are brought back to the image before anything is fitted, as
            RegAD's code does. Defaults to ``'aligned'``.
        reduction (str): As in :class:`PaDiM`. Defaults to ``'random'``.
        dim (int, optional): As in :class:`PaDiM`. Defaults to 100.
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
                 pair_loss: dict | nn.Module | None = None,
                 alignment_loss: dict | nn.Module | None = None,
                 mean_transform_loss: dict | nn.Module | None = None,
                 gaussian_frame: str = 'aligned',
                 reduction: str = 'random',
                 dim: int | None = 100,
                 epsilon: float = 0.01,
                 seed: int = 0,
                 sigma: float = 4.0,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(backbone, reduction, dim, epsilon, seed, sigma,
                         data_preprocessor)
        check_choice(
            'gaussian_frame', gaussian_frame, ('aligned', 'original'))
        if fca is not None and fas is None:
            raise InputError('`fca` is trained through `fas` and has no loss '
                             'of its own; give both, or leave out `fca`.')
        for name, part in dict(ica=ica, fca=fca, fas=fas).items():
            if not isinstance(part, dict | None):
                raise InputError(f'`{name}` must be a dict of arguments, or '
                                 f'None to switch it off, got {part!r}.')
        self.gaussian_frame = gaussian_frame
        stages = self.backbone.stages
        channels = {}
        if fas is not None:
            self.backbone.unfreeze()
            channels = dict(zip(stages, self.backbone.channels))
        self.ica = None if ica is None else SpatialTransformer(3, **ica)
        self.pair_loss = build_part(pair_loss or dict(type='PairLoss'))
        self.fca = None
        if fca is not None:
            _require_steps(self.backbone)
            self.fca = nn.ModuleDict({
                stage: SpatialTransformer(channels[stage], **fca)
                for stage in stages
            })
        self.fas = None
        self.fas_stages = [stages[-1]]
        if fas is not None:
            fas = dict(fas)
            self.fas_stages = fas.pop('stages', self.fas_stages)
            if (not isinstance(self.fas_stages, list | tuple)
                    or not all(isinstance(s, str) for s in self.fas_stages)
                    or stages[-1] not in self.fas_stages
                    or len(set(self.fas_stages)) < len(self.fas_stages)
                    or not set(self.fas_stages) <= set(stages)):
                raise InputError(
                    f'`stages` of `fas` must be out of those of the backbone, '
                    f'{list(stages)}, each once, with the last of them, got '
                    f'{self.fas_stages}.')
            self.fas = nn.ModuleList(
                FineAlignment(channels[stage], **fas)
                for stage in self.fas_stages)
        self.alignment_loss = build_part(
            alignment_loss or dict(type='AlignmentLoss'))
        self.mean_transform_loss = build_part(mean_transform_loss or dict(type='MeanTransformLoss'))

    def signature(self) -> dict:
        return dict(
            super().signature(),
            detector='FYD',
            ica=self.ica and self.ica.signature(),
            fca=self.fca and self.fca[self.backbone.stages[0]].signature(),
            fas=self.fas and list(self.fas_stages),
            gaussian_frame=self.gaussian_frame)

    def begin_fit(self, num_images: int, batch_size: int) -> None:
        """As :meth:`FitDetector.begin_fit`.

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

    @property
    def needs_training(self) -> bool:
        return self.ica is not None or self.fas is not None

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
            return dict(loss_alone=0 * sum(
                parameter.sum() for parameter in self.parameters()
                if parameter.requires_grad))
        log = {}
        image, first = self._move(inputs, self.ica)
        if first is not None:
            first = gather_batch(first)
            log['loss_pair'] = self.pair_loss(gather_batch(image))
            log['loss_mean_transform'] = self.mean_transform_loss(first)
            log.update(_statistics('ica', first))
        if self.fas is not None:
            _, moved, matrices = self._stages(image)
            log['loss_alignment'] = sum(
                self.alignment_loss(*align(moved[stage]))
                for stage, align in zip(self.fas_stages, self.fas))
            frame = _compose(matrices)
            if frame is not None:
                frame = gather_batch(frame)
                log['loss_mean_transform'] = (
                    log.get('loss_mean_transform', 0) + self.mean_transform_loss(frame))
                log.update(_statistics('fca', frame))
        return log

    def extract(self, inputs: Tensor) -> Tensor:
        return self._embed(inputs)[0]

    def distances(self, inputs: Tensor) -> Tensor:
        features, frame = self._embed(inputs)
        distances = self.gaussians(features)
        return distances if frame is None else warp(
            distances, invert_affine(frame))

    def align(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Show images as the last stage sees them.

        Args:
            inputs (Tensor): Preprocessed images ``(B, 3, H, W)``.

        Returns:
            tuple[Tensor, Tensor]: The images aligned, ``(B, 3, H, W)``, and
            the matrices ``(B, 3, 3)`` that do it, see
            :mod:`~mmad.models.layers.affine`.
        """
        image, first = self._move(inputs, self.ica)
        later = [] if self.fca is None else self._stages(image)[2]
        matrix = _compose([first, *later])
        if matrix is None:
            matrix = torch.eye(3).to(inputs).expand(len(inputs), 3, 3)
        return warp(inputs, matrix), matrix

    def _embed(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features, and the transform of their frame, None for the image's.
        """
        image, first = self._move(inputs, self.ica)
        maps, _, matrices = self._stages(image)
        matrices = [first, *matrices]
        if self.gaussian_frame == 'original':
            frame = None
            moves = [
                _invert(_compose(matrices[:i + 1])) for i in range(len(maps))
            ]
        else:
            frame = _compose(matrices)
            moves = [_compose(matrices[i + 1:]) for i in range(len(maps))]
        levels = [
            level if move is None else warp(level, move)
            for level, move in zip(maps.values(), moves)
        ]
        return self.reduction(levels), frame

    def _stages(
        self, image: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], list[Tensor | None]]:
        """Maps of the stages before and behind their transformers, and the
        transforms."""
        stages = self.backbone.stages
        if self.fca is None:
            maps = dict(zip(stages, self.backbone(image)))
            return maps, maps, [None] * len(stages)
        maps, moved, matrices = {}, {}, []
        for name, part in self.backbone.body.named_children():
            image = part(image)
            if name in stages:
                maps[name] = image
                image, matrix = self._move(image, self.fca[name])
                moved[name] = image
                matrices.append(matrix)
        return maps, moved, matrices

    @staticmethod
    def _move(inputs: Tensor, transformer: nn.Module | None
              ) -> tuple[Tensor, Tensor | None]:
        return (inputs, None) if transformer is None else transformer(inputs)


def _compose(matrices: list[Tensor | None]) -> Tensor | None:
    given = [matrix for matrix in matrices if matrix is not None]
    return reduce(compose_affine, given) if given else None


def _invert(matrix: Tensor | None) -> Tensor | None:
    return None if matrix is None else invert_affine(matrix)


@torch.no_grad()
def _statistics(name: str, matrix: Tensor) -> dict[str, Tensor]:
    log = {}
    for part, values in describe_affine(matrix).items():
        log[f'{name}_{part}_mean'] = values.mean()
        log[f'{name}_{part}_std'] = values.std(correction=0)
    return log


def _require_steps(backbone: nn.Module) -> None:
    stages = list(backbone.stages)
    if not isinstance(backbone, SequentialBackbone):
        raise InputError(
            f'`fca` steps in between the stages, which '
            f'{type(backbone).__name__} does not let it; use '
            'TorchvisionResNet.')
    order = [name for name, _ in backbone.body.named_children()
             if name in stages]
    if stages != order:
        raise InputError(f'`stages` of the backbone must be in its order, '
                         f'{order}, for `fca`, got {stages}.')
