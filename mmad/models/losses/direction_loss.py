from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmad.registry import MODELS


@MODELS.register_module()
class DirectionLoss(nn.Module):
    """How far activations point apart, whatever their length.

    ``L_dir`` of MKD (Salehi et al., CVPR 2021): one minus the cosine between
    the whole maps of a sample, each flattened into one vector, summed over
    the critical points.
    """

    def forward(self, source: Sequence[Tensor],
                clone: Sequence[Tensor]) -> Tensor:
        """Compare two networks on the same images.

        Args:
            source (Sequence[Tensor]): Activations ``(B, C_k, H_k, W_k)`` of
                the source, one tensor per critical point.
            clone (Sequence[Tensor]): Those of the cloner, in the same shapes.

        Returns:
            Tensor: ``(B,)`` float32, from 0 to 2 for each critical point. A
            map of zeros counts as orthogonal.
        """
        return sum(
            1 - F.cosine_similarity(
                a.float().flatten(1), b.float().flatten(1), dim=1)
            for a, b in zip(source, clone, strict=True))
