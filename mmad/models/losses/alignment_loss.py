import torch.nn.functional as F
from torch import Tensor, nn

from mmad.registry import MODELS
from mmad.utils.arguments import check_number


@MODELS.register_module()
class AlignmentLoss(nn.Module):
    """Loss of FYD's fine alignment stage (arXiv 2110.04538).

    It makes the features of two images similar at all corresponding
    positions, without negative pairs: SimSiam's loss (arXiv 2011.10566) at
    each position. A predictor predicts from one image the encoding of the
    other, which is detached from the gradient. The loss is the negative cosine
    of prediction and encoding, averaged over the positions and over both
    directions.

    Args:
        loss_weight (float): Weight of the loss. Defaults to 1.

    Raises:
        InputError: The weight is negative or not a finite number.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_number('loss_weight', loss_weight, low=0)
        self.loss_weight = loss_weight

    def forward(self, predictions: tuple[Tensor, Tensor],
                encodings: tuple[Tensor, Tensor]) -> Tensor:
        """Compare two batches of images.

        Args:
            predictions (tuple[Tensor, Tensor]): Predictions from the first and
                from the second batch, ``(B, C, H, W)`` each.
            encodings (tuple[Tensor, Tensor]): Encodings of the first and of
                the second batch, ``(B, C, H, W)`` each.

        Returns:
            Tensor: A scalar from -1 to 1, times the weight.
        """
        (from_first, from_second), (first, second) = predictions, encodings
        cosine = (_cosine(from_first, second) +
                  _cosine(from_second, first)) / 2
        return -self.loss_weight * cosine


def _cosine(prediction: Tensor, encoding: Tensor) -> Tensor:
    return F.cosine_similarity(
        prediction.float(), encoding.detach().float(), dim=1).mean()
