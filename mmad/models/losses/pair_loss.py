import torch
from torch import Tensor, nn

from mmad.registry import MODELS
from mmad.utils.arguments import check_choice, check_number


@MODELS.register_module()
class PairLoss(nn.Module):
    """Distance between the images of a batch, pixel by pixel.

    ``L_ICA`` of FYD (arXiv 2110.04538): for pairs of images and each pixel,
    the 2-norm, not squared, of the difference of their colors. The paper sums
    over all pairs of training images and all pixels; here the pairs are from
    one batch, and the default is the mean.

    Args:
        pairs (str): ``'cyclic'``, each image and the next one in the batch,
            or ``'all'``, all pairs. Defaults to ``'cyclic'``, since the batch
            is in random order.
        reduction (str): ``'mean'`` over pixels and pairs, so that the weight
            does not depend on their number, or ``'sum'``. Defaults to
            ``'mean'``.
        loss_weight (float): Weight of the loss. Defaults to 1.

    Raises:
        InputError: An argument is unknown or out of its range.
    """

    def __init__(self,
                 pairs: str = 'cyclic',
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__()
        check_choice('pairs', pairs, ('cyclic', 'all'))
        check_choice('reduction', reduction, ('mean', 'sum'))
        check_number('loss_weight', loss_weight, low=0)
        self.pairs = pairs
        self.reduction = reduction
        self.loss_weight = loss_weight

    def forward(self, images: Tensor) -> Tensor:
        """Compare the images of a batch.

        Args:
            images (Tensor): ``(B, C, H, W)``.

        Returns:
            Tensor: A scalar, 0 for a single image.
        """
        number = len(images)
        if self.pairs == 'all':
            first, second = torch.triu_indices(
                number, number, 1, device=images.device)
        else:
            first = torch.arange(number, device=images.device)
            # Two images are a single pair, and one image is no pair.
            first = first[:max(number - 1, 0) if number < 3 else number]
            second = (first + 1) % number
        distances = torch.linalg.vector_norm(
            images[first] - images[second], dim=1)
        if self.reduction == 'sum':
            return self.loss_weight * distances.sum()
        return self.loss_weight * distances.sum() / max(distances.numel(), 1)
