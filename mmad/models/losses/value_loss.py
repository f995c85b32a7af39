from collections.abc import Sequence

from torch import Tensor, nn

from mmad.registry import MODELS


@MODELS.register_module()
class ValueLoss(nn.Module):
    """How far activations are apart, element by element.

    ``L_val`` of MKD (Salehi et al., CVPR 2021): the mean squared difference
    at a critical point, summed over the critical points.
    """

    def forward(self, source: Sequence[Tensor],
                clone: Sequence[Tensor]) -> Tensor:
        """Compare two networks on the same images.

        Args:
            source (Sequence[Tensor]): Activations ``(B, C_k, H_k, W_k)`` of
                the source, one tensor per critical point.
            clone (Sequence[Tensor]): Those of the cloner, in the same shapes.

        Returns:
            Tensor: ``(B,)`` float32, at least 0.
        """
        return sum((a.float() - b.float()).square().flatten(1).mean(1)
                   for a, b in zip(source, clone, strict=True))
