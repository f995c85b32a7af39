import torch
from torch import Tensor

from mmad.errors import InputError
from mmad.utils.arguments import check_choice

from .base import FrozenBackbone


class HalfPrecisionBackbone(FrozenBackbone):
    """A backbone that computes in 16 bits, which GPUs do faster.

    Convolutions and products are those of :class:`torch.autocast`; what
    needs more precision, such as normalization, keeps it. The maps are
    rounded, and returned as float32.

    What is fitted to its maps belongs to it: its name, which checkpoints are
    checked against, says in what precision it computes.

    :func:`build_backbone` makes one of a config with ``precision``.

    Args:
        backbone (FrozenBackbone): The network, see :func:`build_backbone`.
        precision (str): ``'bfloat16'`` or ``'float16'``, which overflows
            beyond 65504.

    Raises:
        InputError: The precision is another one.
    """

    def __init__(self, backbone: FrozenBackbone, precision: str) -> None:
        super().__init__(backbone.stages)
        check_choice('precision', precision, ('bfloat16', 'float16'))
        self.network = backbone
        self.precision = precision
        self.name = f'{backbone.name} in {precision}'
        self.freeze()

    @property
    def channels(self) -> tuple[int, ...]:
        return self.network.channels

    def unfreeze(self) -> None:
        """Refuse to be trained.

        Raises:
            InputError: Always.
        """
        raise InputError(
            'a backbone with `precision` cannot be trained; leave it out, and '
            'train with mixed precision by --amp instead.')

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Extract the stages.

        Args:
            inputs (Tensor): Normalized images ``(B, 3, H, W)``.

        Returns:
            tuple[Tensor, ...]: One float32 map ``(B, C_k, H_k, W_k)`` per
            stage.
        """
        dtype = getattr(torch, self.precision)
        with torch.autocast(inputs.device.type, dtype):
            maps = self.network(inputs)
        return tuple(level.float() for level in maps)
