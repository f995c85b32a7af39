from torch import Tensor, nn

from mmad.registry import MODELS


@MODELS.register_module()
class KnowledgeLoss(nn.Module):
    """How far decoded descriptors are from those of a large network.

    ``L_k`` of Uninformed Students (Bergmann et al., CVPR 2020):
    ``|D(T(p)) - P(p)|^2``, the mean over the patches.
    """

    def forward(self, decoded: Tensor, source: Tensor) -> Tensor:
        """Compare descriptors of the same patches.

        Args:
            decoded (Tensor): ``(B, C)``, the teacher's, decoded.
            source (Tensor): ``(B, C)``, the large network's.

        Returns:
            Tensor: A float32 scalar, at least 0.
        """
        difference = decoded.float() - source.float()
        return difference.square().sum(1).mean()
