"""Lower triangular matrices in half the memory of square ones.

The rectangular full packed format (Gustavson et al., ACM TOMS 37(2), 2010)
folds the triangle of a ``d x d`` matrix into a rectangle of half the width:
the left ``w = (d + 1) // 2`` columns stay where they are, and the triangle to
the right of them, transposed, fills the corner above their diagonal. For
``d = 4``::

                      22 32
    00                00 33
    10 11       ->    10 11
    20 21 22          20 21
    30 31 32 33       30 31
"""
import torch
from torch import Tensor


def packed_shape(dim: int) -> tuple[int, int]:
    """Return height and width of the rectangle of a ``dim x dim`` matrix."""
    return dim + 1 - dim % 2, (dim + 1) // 2


def packed_parts(packed: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return views of the two parts of packed matrices.

    Each view also shows entries of the other part, beyond the diagonal; see
    :func:`packed_masks`.

    Args:
        packed (Tensor): ``(..., H, w)``, see :func:`packed_shape`.
        dim (int): Number of rows ``d`` of the triangle.

    Returns:
        tuple[Tensor, Tensor]: The left columns ``(..., d, w)``, valid on and
        below the diagonal, and the right triangle transposed
        ``(..., d - w, d - w)``, valid on and above the diagonal.
    """
    width = packed.shape[-1]
    rest = dim - width
    return (packed[..., packed.shape[-2] - dim:, :], packed[..., :rest,
                                                            width - rest:])


def packed_masks(dim: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Make masks of the entries that belong to the two parts.

    A product with a mask is much faster than :func:`torch.tril`.

    Args:
        dim (int): Number of rows ``d`` of the triangle.
        like (Tensor): Tensor with the dtype and the device of the masks.

    Returns:
        tuple[Tensor, Tensor]: ``(d, w)`` and ``(d - w, d - w)``, see
        :func:`packed_parts`; 1 for entries of the part, else 0.
    """
    left, right = packed_parts(like.new_ones(packed_shape(dim)), dim)
    return left.tril(), right.triu()


def pack(lower: Tensor) -> Tensor:
    """Pack the lower triangles of matrices.

    Args:
        lower (Tensor): ``(..., d, d)``; what is above the diagonal is ignored.

    Returns:
        Tensor: ``(..., H, w)``, see :func:`packed_shape`.
    """
    dim = lower.shape[-1]
    packed = lower.new_zeros(*lower.shape[:-2], *packed_shape(dim))
    left, right = packed_parts(packed, dim)
    left_mask, right_mask = packed_masks(dim, packed)
    width = left.shape[-1]
    left.addcmul_(lower[..., :width], left_mask)
    right.addcmul_(lower[..., width:, width:].mT, right_mask)
    return packed


def unpack(packed: Tensor, dim: int) -> Tensor:
    """Unpack matrices ``(..., H, w)`` to lower triangular ``(..., d, d)``."""
    left, right = packed_parts(packed, dim)
    left_mask, right_mask = packed_masks(dim, packed)
    width = left.shape[-1]
    lower = packed.new_zeros(*packed.shape[:-2], dim, dim)
    lower[..., :width] = left * left_mask
    lower[..., width:, width:] = (right * right_mask).mT
    return lower


def add_gram(packed: Tensor, columns: Tensor, masks: tuple[Tensor,
                                                           Tensor]) -> None:
    """Add the lower triangles of the products ``X X^T``.

    Args:
        packed (Tensor): ``(P, H, w)`` sums, changed in place.
        columns (Tensor): ``X``, ``(P, d, B)``.
        masks (tuple[Tensor, Tensor]): See :func:`packed_masks`.
    """
    left, right = packed_parts(packed, columns.shape[1])
    left_mask, right_mask = masks
    width = left.shape[-1]
    rest = columns[:, width:]
    left.addcmul_(torch.bmm(columns, columns[:, :width].mT), left_mask)
    right.addcmul_(torch.bmm(rest, rest.mT), right_mask)


def packed_matmul(packed: Tensor, columns: Tensor,
                  masks: tuple[Tensor, Tensor]) -> Tensor:
    """Multiply packed triangular matrices by columns.

    Args:
        packed (Tensor): ``(P, H, w)`` matrices.
        columns (Tensor): ``(P, d, B)``.
        masks (tuple[Tensor, Tensor]): See :func:`packed_masks`.

    Returns:
        Tensor: ``(P, d, B)``.
    """
    left, right = packed_parts(packed, columns.shape[1])
    left_mask, right_mask = masks
    width = left.shape[-1]
    product = torch.bmm(left * left_mask, columns[:, :width])
    product[:, width:] += torch.bmm((right * right_mask).mT, columns[:,
                                                                     width:])
    return product
