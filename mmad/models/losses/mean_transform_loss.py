from torch import Tensor, nn

from mmad.models.layers.affine import invert_affine
from mmad.registry import MODELS
from mmad.utils.arguments import check_number


@MODELS.register_module()
class MeanTransformLoss(nn.Module):
    """Deviation of the mean transform of a batch from the identity.

    This loss is not in the paper of FYD. It prevents a collapse of
    :class:`~mmad.models.PairLoss`, which also falls if all images move in the
    same way until they show something uniform. It does not hinder moves
    relative to each other, which are what aligns images, since a transform and
    its inverse cancel.

    The loss is the sum of the squared elements of the mean of
    ``(M - M^-1) / 2``, which for a translation is ``M - I``.

    Args:
        loss_weight (float): Weight of the loss. Defaults to 10.

    Raises:
        InputError: The weight is negative or not a finite number.
    """

    def __init__(self, loss_weight: float = 10.0) -> None:
        super().__init__()
        check_number('loss_weight', loss_weight, low=0)
        self.loss_weight = loss_weight

    def forward(self, matrices: Tensor) -> Tensor:
        """Compute the loss of the transforms of a batch.

        Args:
            matrices (Tensor): ``(B, 3, 3)``.

        Returns:
            Tensor: A scalar, at least 0.
        """
        moves = (matrices - invert_affine(matrices)) / 2
        return self.loss_weight * moves.mean(0).square().sum()
