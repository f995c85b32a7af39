import torch.nn.functional as F
from torch import Tensor, nn

from mmad.registry import MODELS
from mmad.utils.arguments import check_number


@MODELS.register_module()
class TripletLoss(nn.Module):
    """Triplet loss with anchor swap, of squared distances.

    ``L_m`` of Uninformed Students (Bergmann et al., CVPR 2020), which brings
    the descriptors ``T`` of a patch ``p`` and of a varied version ``p+`` of it
    together and those of other patches ``p-`` apart: the mean over the patches
    of ``max(0, margin + d+ - d-)`` with ``d+ = |T(p) - T(p+)|^2`` and
    ``d- = min(|T(p) - T(p-)|^2, |T(p+) - T(p-)|^2)``. The negative of a patch
    is the next one in the batch, which must come from another image.

    Args:
        margin (float): How much farther the negative shall be, above 0. The
            value of the paper is not known. Defaults to 1.

    Raises:
        InputError: ``margin`` is not a number above 0.
    """

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        check_number('margin', margin, above=0)
        self.margin = margin

    def forward(self, anchors: Tensor, positives: Tensor) -> Tensor:
        """Compare patches with varied versions of them.

        Args:
            anchors (Tensor): ``(B, d)`` descriptors of patches, B > 1.
            positives (Tensor): ``(B, d)`` descriptors of varied versions.

        Returns:
            Tensor: A float32 scalar, at least 0.
        """
        anchors, positives = anchors.float(), positives.float()
        return F.triplet_margin_with_distance_loss(
            anchors,
            positives,
            anchors.roll(1, 0),
            distance_function=_squared_distance,
            margin=self.margin,
            swap=True)


def _squared_distance(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square().sum(1)
