import torch
from torch import Tensor, nn

from mmad.registry import MODELS
from mmad.utils.arguments import check_number


@MODELS.register_module()
class MetricLoss(nn.Module):
    """Descriptors of one place close together, those of others apart.

    ``L_m`` of Uninformed Students (Bergmann et al., CVPR 2020), a triplet
    loss with anchor swap: ``max(0, margin + d+ - d-)`` with
    ``d+ = |T(p) - T(p+)|^2`` and
    ``d- = min(|T(p) - T(p-)|^2, |T(p+) - T(p-)|^2)``, the mean over the
    patches. The negative of a patch is the next one in the batch, which must
    come from another image.

    Args:
        margin (float): The paper's value is not known here. Defaults to 1.

    Raises:
        InputError: ``margin`` is negative or no finite number.
    """

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        check_number('margin', margin, low=0)
        self.margin = margin

    def forward(self, anchors: Tensor, positives: Tensor) -> Tensor:
        """Compare patches with varied versions of them.

        Args:
            anchors (Tensor): ``(B, d)`` descriptors of patches, B > 1.
            positives (Tensor): ``(B, d)`` of varied versions of them.

        Returns:
            Tensor: A float32 scalar, at least 0.
        """
        anchors, positives = anchors.float(), positives.float()
        negatives = anchors.roll(1, 0)
        near = (anchors - positives).square().sum(1)
        far = torch.minimum((anchors - negatives).square().sum(1),
                            (positives - negatives).square().sum(1))
        return (self.margin + near - far).clamp(min=0).mean()
