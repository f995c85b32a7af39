from torch import Tensor, nn

from mmad.models.layers.affine import invert_affine
from mmad.registry import MODELS
from mmad.utils.arguments import check_number


@MODELS.register_module()
class MeanTransformLoss(nn.Module):
    """How far the transforms of a batch are from the identity in the mean.

    Ours, against a collapse of :class:`~mmad.models.PairLoss`: that is
    lower, too, where all images move alike until they show something
    uniform. Only moves relative to each other align them, and those this loss
    leaves alone: a transform and its inverse cancel out.

    It is the sum of the squared elements of the mean of ``(M - M^-1) / 2``,
    which for shifts is that of ``M - I``.

    Args:
        loss_weight (float): Lambda of the loss. Defaults to 10.

    Raises:
        InputError: The weight is negative or no finite number.
    """

    def __init__(self, loss_weight: float = 10.0) -> None:
        super().__init__()
        check_number('loss_weight', loss_weight, low=0)
        self.loss_weight = loss_weight

    def forward(self, matrices: Tensor) -> Tensor:
        """Look at the transforms of a batch.

        Args:
            matrices (Tensor): ``(B, 3, 3)``.

        Returns:
            Tensor: Scalar.
        """
        moves = (matrices - invert_affine(matrices)) / 2
        return self.loss_weight * moves.mean(0).square().sum()
