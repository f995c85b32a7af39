from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def value_loss(source: Sequence[Tensor], clone: Sequence[Tensor]) -> Tensor:
    """Compare the values of activations: ``L_val`` of MKD.

    The mean squared difference at each critical point, summed over the
    critical points (Salehi et al., CVPR 2021).

    Args:
        source (Sequence[Tensor]): Activations ``(B, C_k, H_k, W_k)`` of the
            source, one tensor per critical point.
        clone (Sequence[Tensor]): Those of the cloner, in the same shapes.

    Returns:
        Tensor: ``(B,)`` float32, at least 0.
    """
    return sum(  # type: ignore[return-value]
        (a.float() - b.float()).square().flatten(1).mean(1)
        for a, b in zip(source, clone, strict=True))


def direction_loss(source: Sequence[Tensor],
                   clone: Sequence[Tensor]) -> Tensor:
    """Compare the directions of activations: ``L_dir`` of MKD.

    One minus the cosine between the maps of an image, each flattened into one
    vector, summed over the critical points (Salehi et al., CVPR 2021).

    Args:
        source (Sequence[Tensor]): Activations ``(B, C_k, H_k, W_k)`` of the
            source, one tensor per critical point.
        clone (Sequence[Tensor]): Those of the cloner, in the same shapes.

    Returns:
        Tensor: ``(B,)`` float32, from 0 to 2 for each critical point. A map of
        zeros counts as orthogonal.
    """
    return sum(  # type: ignore[return-value]
        1 -
        F.cosine_similarity(a.float().flatten(1), b.float().flatten(1), dim=1)
        for a, b in zip(source, clone, strict=True))
