from torch import Tensor, nn

from mmad.registry import MODELS
from mmad.utils.arguments import check_choice, check_flag

# `torch.corrcoef` has nan, also in all gradients, for a variable that is
# constant; this keeps it from dividing by zero.
_EPSILON = 1e-6


@MODELS.register_module()
class CompactnessLoss(nn.Module):
    """Correlation between the dimensions of descriptors, or between patches.

    ``L_c`` of Uninformed Students (Bergmann et al., CVPR 2020): the sum of
    the correlations ``c_ij``, i unlike j, of the dimensions of a descriptor
    over the batch. The formula has them without a square, so that
    anti-correlation would be rewarded; here they are squared unless
    ``signed``.

    The text can also be read as the correlations of the descriptors of
    different patches over their dimensions. Known re-implementations do that
    and sum over pairs, which is half of the sum over i and j.

    Args:
        signed (bool): Whether to sum ``c_ij`` itself and not its square.
            Defaults to False.
        over (str): ``'dimensions'``, so that no two of them carry the same
            information; or ``'samples'``, the patches of the batch, so that
            no two of them have like descriptors. Defaults to
            ``'dimensions'``.

    Raises:
        InputError: An argument is not one of these.
    """

    def __init__(self, signed: bool = False, over: str = 'dimensions') -> None:
        super().__init__()
        check_flag('signed', signed)
        check_choice('over', over, ('dimensions', 'samples'))
        self.signed = signed
        self.over = over

    def forward(self, descriptors: Tensor) -> Tensor:
        """Sum up the correlations of a batch.

        Args:
            descriptors (Tensor): ``(B, d)``, B > 1.

        Returns:
            Tensor: A float32 scalar, at least 0 unless signed.
        """
        if self.over == 'samples':
            descriptors = descriptors.T
        centered = descriptors.float()
        centered = centered - centered.mean(0)
        unit = centered / centered.norm(dim=0).clamp(min=_EPSILON)
        correlations = unit.T @ unit
        if not self.signed:
            correlations = correlations.square()
        return correlations.sum() - correlations.diagonal().sum()
