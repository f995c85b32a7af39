import torch
from torch import Tensor


def to_fixed_point(values: Tensor, bits: int) -> Tensor:
    """Round values to multiples of ``2^-bits``, in float64.

    Sums of such values and of their products are exact as long as they stay
    below ``2^53`` times ``2^-bits`` and ``2^-2 bits``. So they do not depend
    on the order, the size of the batches or the number of processes.

    Args:
        values (Tensor): Any shape.
        bits (int): Number of bits after the point.

    Returns:
        Tensor: A contiguous copy in float64.
    """
    return values.to(
        torch.float64, copy=True, memory_format=torch.contiguous_format).mul_(
            2.0**bits).round_().mul_(2.0**-bits)
