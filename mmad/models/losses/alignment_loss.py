import torch.nn.functional as F
from torch import Tensor, nn

from mmad.registry import MODELS
from mmad.utils.arguments import check_number


@MODELS.register_module()
class AlignmentLoss(nn.Module):
    """How badly the features of two images predict each other.

    The loss of FYD's fine alignment stage (arXiv 2110.04538): the similarity
    of the features at all corresponding positions, learned without negatives.
    That is SimSiam's loss (arXiv 2011.10566) at each position: a predictor
    guesses from one image the encoding of the other, which gradients do not
    enter, and the negative cosine is averaged over positions and both
    directions.

    Args:
        loss_weight (float): Lambda of the loss. Defaults to 1.

    Raises:
        InputError: The weight is negative or no finite number.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_number('loss_weight', loss_weight, low=0)
        self.loss_weight = loss_weight

    def forward(self, predictions: tuple[Tensor, Tensor],
                encodings: tuple[Tensor, Tensor]) -> Tensor:
        """Compare two batches.

        Args:
            predictions (tuple[Tensor, Tensor]): ``(B, C, H, W)`` from the one
                and from the other batch.
            encodings (tuple[Tensor, Tensor]): Those of the one and of the
                other batch, ``(B, C, H, W)``.

        Returns:
            Tensor: Scalar, from -1 to 1 times the weight.
        """
        (from_one, from_other), (one, other) = predictions, encodings
        cosines = (_cosine(from_one, other) + _cosine(from_other, one)) / 2
        return -self.loss_weight * cosines


def _cosine(prediction: Tensor, encoding: Tensor) -> Tensor:
    return F.cosine_similarity(
        prediction.float(), encoding.detach().float(), dim=1).mean()
