import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmad.errors import InputError
from mmad.models.backbones import build_backbone
from mmad.models.build import build_part
from mmad.models.fit_state import FitState, refuse_part
from mmad.models.normalization import describe_normalization
from mmad.registry import MODELS
from mmad.utils.arguments import check_number


@MODELS.register_module()
class PatchTeacher(BaseModel):
    """Training of the teacher of Uninformed Students.

    Bergmann et al., "Uninformed Students", CVPR 2020, section 3.1. A small
    network ``T`` learns to describe patches ``p`` of natural images by the
    weighted sum of up to three losses:

    - knowledge distillation, ``L_k = |D(T(p)) - P(p)|^2``: a linear decoder
      ``D`` shall find the descriptor of a large network ``P`` in its own;
    - metric learning, ``L_m``: a patch and a varied version of it shall have
      similar descriptors, see :class:`~mmad.models.TripletLoss`;
    - descriptor compactness, ``L_c``: the dimensions of a descriptor shall
      not be correlated, see :class:`~mmad.models.CompactnessLoss`.

    The images to find anomalies in are not used.

    Args:
        network (dict | nn.Module): The
            :class:`~mmad.models.PatchNetwork` that students learn from.
        backbone (dict | nn.Module, optional): The large network, frozen; the
            mean over the positions of its last stage describes a patch.
            Defaults to None, for ``knowledge_weight=0``.
        knowledge_weight (float): Weight of ``L_k``; 0 leaves a loss out.
            Defaults to 1.
        metric_weight (float): Weight of ``L_m``, which needs patches from
            ``RandomPatch(positive=True)``. Defaults to 0.
        compactness_weight (float): Weight of ``L_c``. Defaults to 1.
        metric_loss (dict | nn.Module, optional): The loss ``L_m``. Defaults
            to None: ``dict(type='TripletLoss')``.
        compactness_loss (dict | nn.Module, optional): The loss ``L_c``.
            Defaults to None: ``dict(type='CompactnessLoss')``.
        data_preprocessor (dict, optional): Normalization of the images, which
            must be that of the students. Defaults to None.

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
                 metric_loss: dict | nn.Module | None = None,
                 compactness_loss: dict | nn.Module | None = None,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self.fit_state = FitState('PatchTeacher', self.fingerprint)
        self.register_load_state_dict_post_hook(refuse_part)
        self.weights = dict(
            knowledge=knowledge_weight,
            metric=metric_weight,
            compactness=compactness_weight)
        for name, weight in self.weights.items():
            check_number(f'{name}_weight', weight, low=0)
        if not any(self.weights.values()):
            raise InputError(
                'at least one weight of the losses of the teacher must be '
                f'above 0, got {self.weights}.')
        self.normalization = describe_normalization(data_preprocessor)
        self.network = build_part(network)
        self.metric_loss = build_part(metric_loss or dict(type='TripletLoss'))
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

    def fingerprint(self) -> dict:
        """What a checkpoint must have in common with the config."""
        return dict(
            model='PatchTeacher',
            normalization=self.normalization,
            **self.network.settings())

    @property
    def is_fitted(self) -> bool:
        """Whether it was trained with all images."""
        return self.fit_state.is_fitted

    def begin_training(self, num_batches: int) -> None:
        """Forget an earlier training, and expect so many batches."""
        self.fit_state.begin_training(num_batches)

    def parse_losses(self, losses: dict) -> tuple[Tensor, dict]:
        return self.fit_state.after_batch(*super().parse_losses(losses))

    def forward(self,
                inputs: Tensor,
                data_samples: list | None = None,
                mode: str = 'tensor') -> Tensor | dict[str, Tensor]:
        """Describe patches, or compute the losses of the descriptors.

        Args:
            inputs (Tensor): Patches ``(B, 3, p, p)``; or ``(B, 3, p, 2 p)``,
                with a varied version of each beside it.
            data_samples (list, optional): Not used.
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
        """Compute the weighted losses; see :meth:`forward`."""
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
                f'{patches.shape[-1]}x{patches.shape[-2]}; check '
                '`patch_size` of RandomPatch and the batch size.')
        descriptors = self.network(patches)
        losses = {}
        if self.weights['knowledge']:  # L_k
            decoded = self.decoder(descriptors).float()
            difference = decoded - self._describe(patches).float()
            losses['knowledge'] = difference.square().sum(1).mean()
        if self.weights['metric']:  # L_m
            losses['metric'] = self.metric_loss(descriptors,
                                                self.network(positives[0]))
        if self.weights['compactness']:  # L_c
            losses['compactness'] = self.compactness_loss(descriptors)
        return {
            f'loss_{name}': self.weights[name] * value
            for name, value in losses.items()
        }

    @torch.no_grad()
    def _describe(self, patches: Tensor) -> Tensor:
        """Return the descriptors ``(B, C)`` of the large network."""
        return self.backbone(patches)[-1].mean((2, 3))
