import torch
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.models.backbones import TiledBackbone, build_backbone
from mmad.models.build import build_part
from mmad.models.layers.anomaly_map import AnomalyMap
from mmad.models.layers.attribution import Attribution
from mmad.models.layers.gray_opening import gray_opening
from mmad.models.losses.activation_losses import direction_loss, value_loss
from mmad.registry import MODELS
from mmad.utils.arguments import (
    as_arguments,
    check_choice,
    check_number,
    check_numbers,
)

from .base import BaseDetector

_TERMS = ('value', 'direction')


@MODELS.register_module()
class MKD(BaseDetector):
    """MKD: a small network that imitates a large one on normal images only.

    Implementation of `Multiresolution Knowledge Distillation for Anomaly
    Detection <https://arxiv.org/abs/2011.11108>`_ (Salehi et al., CVPR 2021).

    A cloner learns the activations of a frozen source at several critical
    points, by their values and their direction: ``L_val + lambda * L_dir``.
    What it has not seen it imitates badly, so the same loss is the score of
    an image. The map is the gradient of the score with respect to the image,
    smoothed and opened.

    Args:
        backbone (dict | nn.Module): The source, frozen, with one stage for
            each critical point.
        cloner (dict | nn.Module): See :class:`~mmad.models.Cloner`.
        loss_weight (float | str): Lambda. ``'auto'`` gives both terms the
            same size on the first batch and stays in the checkpoint. 0 leaves
            out the term that it stands at. Defaults to ``'auto'``.
        weighted_loss (str): Which term lambda stands at, ``'direction'`` as
            in the paper or ``'value'`` as in the authors' code. Defaults to
            ``'direction'``.
        test_points (list[int], optional): Critical points that scores and
            maps are made of, as indices. Defaults to None: all.
        attribution (dict, optional): Arguments of :class:`Attribution`.
        sigma (float): Smoothing of the maps in input pixels. Defaults to 4.
        data_preprocessor (dict, optional): Defaults to None.

    Raises:
        InputError: An argument is out of its range, or cloner and source do
            not fit together.
    """

    weight: Tensor

    def __init__(self,
                 backbone: dict | nn.Module,
                 cloner: dict | nn.Module,
                 loss_weight: float | str = 'auto',
                 weighted_loss: str = 'direction',
                 test_points: list[int] | None = None,
                 attribution: dict | None = None,
                 sigma: float = 4.0,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self.backbone = build_backbone(backbone)
        if isinstance(self.backbone, TiledBackbone):
            raise InputError(
                'MKD compares whole images and has no use for `tiles` of its '
                'backbone; leave them out and reduce the images, or take '
                'PatchCore.')
        self.cloner = build_part(cloner)
        num_points = len(self.backbone.stages)
        if num_points != len(self.cloner.points):
            raise InputError(
                f'the backbone has {num_points} stages and the cloner '
                f'{len(self.cloner.points)} `points`; each stage needs its '
                'own.')
        check_choice('weighted_loss', weighted_loss, _TERMS)
        if loss_weight != 'auto':
            check_number('loss_weight', loss_weight, low=0, hint='or "auto"')
        if test_points is not None:
            check_numbers('test_points', test_points, integer=True)
        points = range(num_points)
        self.test_points = list(points if test_points is None else test_points)
        if not self.test_points or not set(self.test_points) <= set(points):
            raise InputError(
                f'`test_points` must be among 0 to {num_points - 1}, got '
                f'{test_points}.')
        self.loss_weight = loss_weight
        self.weighted_loss = weighted_loss
        self.attribution = Attribution(
            **as_arguments('attribution', attribution))
        self.anomaly_map = AnomalyMap(sigma)
        # Lambda.
        self.register_buffer(
            'weight',
            torch.tensor(
                float('nan' if loss_weight == 'auto' else loss_weight)))

    def fingerprint(self) -> dict:
        return dict(
            super().fingerprint(),
            cloner_widths=self.cloner.widths,
            cloner_points=self.cloner.points,
            cloner_strides=self.cloner.strides,
            loss_weight=self.loss_weight,
            weighted_loss=self.weighted_loss)

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """Compute ``L_val`` and ``L_dir``, means over the batch."""
        terms = self._compare(*self._activations(inputs))
        terms = {name: term.mean() for name, term in terms.items()}
        self._balance(terms)
        return {
            f'loss_{name}': term
            for name, term in self._weigh(terms).items()
        }

    def score(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        scores, maps = self.attribution(self._distance, inputs, self.cloner)
        return scores, gray_opening(self.anomaly_map(maps, inputs.shape[-2:]))

    def score_in_graph(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        # The map is a gradient, which is no part of a graph.
        return self._distance(inputs), None

    def _distance(self, inputs: Tensor) -> Tensor:
        """The loss ``(B,)`` of each image at the test points."""
        source, clone = self._activations(inputs)
        terms = self._compare([source[i] for i in self.test_points],
                              [clone[i] for i in self.test_points])
        return sum(  # type: ignore[return-value]
            self._weigh(terms).values())

    def _activations(
            self,
            inputs: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        source, clone = self.backbone(inputs), self.cloner(inputs)
        for stage, a, b in zip(self.backbone.stages, source, clone):
            if a.shape != b.shape:
                raise InputError(
                    f'at stage "{stage}" the source has {tuple(a.shape[1:])} '
                    f'channels, rows and columns and the cloner '
                    f'{tuple(b.shape[1:])}; adapt the cloner (`widths`, '
                    '`points`, `strides`) or the size of the images.')
        return source, clone

    def _compare(self, source, clone) -> dict[str, Tensor]:
        return dict(
            value=value_loss(source, clone),
            direction=direction_loss(source, clone))

    def _weigh(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        weighted = self.weight * terms[self.weighted_loss]
        return {**terms, self.weighted_loss: weighted}

    @torch.compiler.disable
    def _balance(self, terms: dict[str, Tensor]) -> None:
        """Set lambda of ``'auto'`` by the first batch."""
        if not torch.isnan(self.weight):
            return
        sizes = torch.stack([terms[name].detach() for name in _TERMS])
        all_reduce(sizes, 'mean')
        ratio = sizes[0] / sizes[1]
        if self.weighted_loss == 'value':
            ratio = 1 / ratio
        if not torch.isfinite(ratio) or ratio == 0:
            raise InputError(
                f'`loss_weight` cannot be balanced: the terms begin with '
                f'{float(sizes[0])} and {float(sizes[1])}; check weights and '
                'normalization, or give a number.')
        self.weight.copy_(ratio)
        print_log(
            f'Lambda of the {self.weighted_loss} loss: '
            f'{float(ratio):.4g}', 'current')
