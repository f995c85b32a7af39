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
        return self._cpu_copy.compute(self.body, inputs, self._maps)

    def _maps(self, body: nn.Module, inputs: Tensor) -> list[Tensor]:
        maps = {}
        for name, part in body.named_children():
            inputs = maps[name] = part(inputs)
        return [maps[stage] for stage in self.stages]
