from torch import Tensor, nn

from mmad.registry import MODELS
from mmad.utils.arguments import check_flag

# `torch.corrcoef` has nan, also in all gradients, for a dimension that is
# constant over the batch; this keeps it from dividing by zero.
_EPSILON = 1e-6


@MODELS.register_module()
class CompactnessLoss(nn.Module):
    """Correlation between the dimensions of descriptors.

    ``L_c`` of Uninformed Students (Bergmann et al., CVPR 2020): the sum of
    the correlations ``c_ij`` of different dimensions i and j over the batch.
    The formula has them without a square, so that anti-correlation would be
    rewarded; here they are squared unless ``signed``.

    Args:
        signed (bool): Whether to sum ``c_ij`` itself and not its square.
            Defaults to False.

    Raises:
        InputError: ``signed`` is neither True nor False.
    """

    def __init__(self, signed: bool = False) -> None:
        super().__init__()
        check_flag('signed', signed)
        self.signed = signed

    def forward(self, descriptors: Tensor) -> Tensor:
        """Sum up the correlations of a batch.

        Args:
            descriptors (Tensor): ``(B, d)``, B > 1.

        Returns:
            Tensor: A float32 scalar, at least 0 unless signed.
        """
        centered = descriptors.float()
        centered = centered - centered.mean(0)
        unit = centered / centered.norm(dim=0).clamp(min=_EPSILON)
        correlations = unit.T @ unit
        if not self.signed:
            correlations = correlations.square()
        return correlations.sum() - correlations.diagonal().sum()
