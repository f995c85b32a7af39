"""Lower triangular matrices without the memory of their upper halves.

A triangle of side ``d`` folds into a rectangle of half its width ("rectangular
full packed", Gustavson et al., ACM TOMS 37(2), 2010): the left
``w = (d + 1) // 2`` columns stay, and the triangle to the right of them,
transposed, fills the corner above their diagonal.
"""
import torch
from torch import Tensor


def packed_shape(dim: int) -> tuple[int, int]:
    """Height and width of the rectangle for a triangle of side ``dim``."""
    return dim + 1 - dim % 2, (dim + 1) // 2


def packed_parts(packed: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Views of the two parts, each with something of the other beside it.

    Args:
        packed (Tensor): ``(..., H, w)``, see :func:`packed_shape`.
        dim (int): Side ``d`` of the triangle.

    Returns:
        tuple[Tensor, Tensor]: The left columns ``(..., d, w)``, on and below
        the diagonal, and the right triangle transposed
        ``(..., d - w, d - w)``, on and above the diagonal.
    """
    width = packed.shape[-1]
    rest = dim - width
    return (packed[..., packed.shape[-2] - dim:, :],
            packed[..., :rest, width - rest:])


def packed_masks(dim: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """1 where the two parts have entries of the triangle, else 0.

    A product with them is much faster than :func:`torch.tril`.
    """
    left, right = packed_parts(like.new_ones(packed_shape(dim)), dim)
    return left.tril(), right.triu()


def pack(lower: Tensor) -> Tensor:
    """Fold matrices ``(..., d, d)``, of which only the lower half counts."""
    dim = lower.shape[-1]
    packed = lower.new_zeros(*lower.shape[:-2], *packed_shape(dim))
    left, right = packed_parts(packed, dim)
    left_mask, right_mask = packed_masks(dim, packed)
    width = left.shape[-1]
    left.addcmul_(lower[..., :width], left_mask)
    right.addcmul_(lower[..., width:, width:].mT, right_mask)
    return packed


def unpack(packed: Tensor, dim: int) -> Tensor:
    """The lower triangular matrices ``(..., d, d)`` of ``(..., H, w)``."""
    left, right = packed_parts(packed, dim)
    left_mask, right_mask = packed_masks(dim, packed)
    width = left.shape[-1]
    lower = packed.new_zeros(*packed.shape[:-2], dim, dim)
    lower[..., :width] = left * left_mask
    lower[..., width:, width:] = (right * right_mask).mT
    return lower


def add_gram(packed: Tensor, columns: Tensor,
             masks: tuple[Tensor, Tensor]) -> None:
    """Add the symmetric products ``X X^T``, of which one half is stored.

    Args:
        packed (Tensor): ``(P, H, w)``, changed in place.
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
    """Product of triangular matrices and columns.

    Args:
        packed (Tensor): ``(P, H, w)``.
        columns (Tensor): ``(P, d, B)``.
        masks (tuple[Tensor, Tensor]): See :func:`packed_masks`.

    Returns:
        Tensor: ``(P, d, B)``.
    """
    left, right = packed_parts(packed, columns.shape[1])
    left_mask, right_mask = masks
    width = left.shape[-1]
    product = torch.bmm(left * left_mask, columns[:, :width])
    product[:, width:] += torch.bmm((right * right_mask).mT,
                                    columns[:, width:])
    return product
