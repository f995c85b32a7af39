import torch
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.models.backbones import build_backbone
from mmad.models.build import build_part
from mmad.models.normalization import describe_normalization
from mmad.models.trained_model import TrainedModel
from mmad.registry import MODELS
from mmad.utils.arguments import check_number


@MODELS.register_module()
class PatchTeacher(TrainedModel):
    """The teacher of Uninformed Students, while it is being trained.

    Bergmann et al., "Uninformed Students", CVPR 2020, section 3.1. A small
    network learns to describe patches of natural images, from up to three
    sources: what a large network says of the same patch, by way of a linear
    decoder; that a patch and a varied version of it are alike; and that the
    dimensions of a descriptor shall not repeat each other.

    Images that anomalies are to be found in have no part in it.

    Args:
        network (dict | nn.Module): The
            :class:`~mmad.models.PatchNetwork` that students learn from.
        backbone (dict | nn.Module, optional): The large network, frozen; the
            mean over its last stage describes a patch. Defaults to None,
            for ``knowledge_weight=0``.
        knowledge_weight (float): Of :class:`~mmad.models.KnowledgeLoss`; 0
            leaves it out, as with the others. Defaults to 1.
        metric_weight (float): Of :class:`~mmad.models.MetricLoss`, which
            needs patches from ``RandomPatch(positive=True)``. Defaults to 0.
        compactness_weight (float): Of
            :class:`~mmad.models.CompactnessLoss`. Defaults to 1.
        knowledge_loss (dict | nn.Module, optional): Defaults to None:
            ``dict(type='KnowledgeLoss')``.
        metric_loss (dict | nn.Module, optional): Defaults to None:
            ``dict(type='MetricLoss')``.
        compactness_loss (dict | nn.Module, optional): Defaults to None:
            ``dict(type='CompactnessLoss')``.
        data_preprocessor (dict, optional): Students must see images that are
            normalized alike. Defaults to None.

    Raises:
        InputError: All weights are 0, one is negative, or there is no
            backbone for the knowledge loss.
    """

    def __init__(self,
                 network: dict | nn.Module,
                 backbone: dict | nn.Module | None = None,
                 knowledge_weight: float = 1.0,
                 metric_weight: float = 0.0,
                 compactness_weight: float = 1.0,
                 knowledge_loss: dict | nn.Module | None = None,
                 metric_loss: dict | nn.Module | None = None,
                 compactness_loss: dict | nn.Module | None = None,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self.weights = dict(
            knowledge=knowledge_weight,
            metric=metric_weight,
            compactness=compactness_weight)
        for name, weight in self.weights.items():
            check_number(f'{name}_weight', weight, low=0)
        if not any(self.weights.values()):
            raise InputError(
                'one of the weights of the teacher\'s losses must not be 0, '
                f'got {self.weights}.')
        self.normalization = describe_normalization(data_preprocessor)
        self.network = build_part(network)
        self.knowledge_loss = build_part(
            knowledge_loss or dict(type='KnowledgeLoss'))
        self.metric_loss = build_part(metric_loss or dict(type='MetricLoss'))
        self.compactness_loss = build_part(
            compactness_loss or dict(type='CompactnessLoss'))
        if self.weights['knowledge']:
            if backbone is None:
                raise InputError(
                    'the knowledge loss needs a `backbone` to learn from; '
                    'give one, or set `knowledge_weight=0`.')
            self.backbone = build_backbone(backbone)
            side = self.network.patch_size
            channels = self._describe(torch.zeros(1, 3, side, side)).shape[1]
            self.decoder = nn.Linear(self.network.out_channels, channels)

    def signature(self) -> dict:
        return dict(
            model='PatchTeacher',
            normalization=self.normalization,
            **self.network.settings())

    def forward(self,
                inputs: Tensor,
                data_samples: list | None = None,
                mode: str = 'tensor') -> Tensor | dict[str, Tensor]:
        """Describe patches, or compare them with what they should be.

        Args:
            inputs (Tensor): Patches ``(B, 3, p, p)``; or ``(B, 3, p, 2 p)``,
                with a varied version of each beside it.
            data_samples (list, optional): Without effect.
            mode (str): ``'tensor'`` or ``'loss'``.

        Returns:
            Tensor | dict[str, Tensor]: Descriptors ``(B, d)``, or one loss
            for each weight that is not 0.
        """
        if mode == 'tensor':
            return self.network(inputs)
        if mode == 'loss':
            return self.loss(inputs)
        raise ValueError(f'`mode` must be "tensor" or "loss", got "{mode}".')

    def loss(self, inputs: Tensor) -> dict[str, Tensor]:
        """The weighted losses; see :meth:`forward`."""
        side = self.network.patch_size
        patches, *positives = inputs.split(side, dim=-1)
        if self.weights['metric'] and not positives:
            raise InputError(
                'the metric loss needs two versions of each patch; set '
                '`positive=True` of RandomPatch in the pipeline, or '
                '`metric_weight=0`.')
        if len(patches) < 2 or patches.shape[-2:] != (side, side):
            raise InputError(
                f'the teacher learns from batches of two patches or more of '
                f'{side}x{side} pixels, got {len(inputs)} of '
                f'{patches.shape[-1]}x{patches.shape[-2]}; mind `patch_size` '
                'of RandomPatch and the batch size.')
        self.count_batch()
        descriptors = self.network(patches)
        losses = {}
        if self.weights['knowledge']:
            losses['knowledge'] = self.knowledge_loss(
                self.decoder(descriptors), self._describe(patches))
        if self.weights['metric']:
            losses['metric'] = self.metric_loss(
                descriptors, self.network(positives[0]))
        if self.weights['compactness']:
            losses['compactness'] = self.compactness_loss(descriptors)
        return {
            f'loss_{name}': self.weights[name] * value
            for name, value in losses.items()
        }

    @torch.no_grad()
    def _describe(self, patches: Tensor) -> Tensor:
        """What the large network says of patches, ``(B, C)``."""
        return self.backbone(patches)[-1].mean((2, 3))
