from torch import Tensor, nn

from .base import FrozenBackbone


class SequentialBackbone(FrozenBackbone):
    """A backbone whose stages are modules that follow each other.

    A detector can go through ``body.named_children()`` by itself and step in
    between two stages. Subclasses build ``body``, cut behind the last stage.

    Args:
        stages (Sequence[str]): Names of the stages to return.

    Attributes:
        body (nn.Sequential): The parts, of which some are stages, by name.
    """

    body: nn.Sequential

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Extract the stages.

        Args:
            inputs (Tensor): Normalized RGB images ``(B, 3, H, W)``.

        Returns:
            tuple[Tensor, ...]: One map ``(B, C_k, H_k, W_k)`` per stage.
        """
        maps = {}
        body = self._cpu_copy.find(self.body, inputs)
        for name, part in body.named_children():
            inputs = maps[name] = part(inputs)
        return tuple(maps[stage] for stage in self.stages)
