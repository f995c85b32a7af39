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


def pack(lower: Tensor) -> Tensor:
    """Fold matrices ``(..., d, d)``, of which only the lower half counts."""
    dim = lower.shape[-1]
    packed = lower.new_zeros(*lower.shape[:-2], *packed_shape(dim))
    left, right = packed_parts(packed, dim)
    width = left.shape[-1]
    left += lower[..., :width].tril()
    right += lower[..., width:, width:].mT.triu()
    return packed


def unpack(packed: Tensor, dim: int) -> Tensor:
    """The lower triangular matrices ``(..., d, d)`` of ``(..., H, w)``."""
    left, right = packed_parts(packed, dim)
    width = left.shape[-1]
    lower = packed.new_zeros(*packed.shape[:-2], dim, dim)
    lower[..., :width] = left.tril()
    lower[..., width:, width:] = right.triu().mT
    return lower


def packed_matmul(packed: Tensor, vectors: Tensor) -> Tensor:
    """Product of triangular matrices and columns.

    Args:
        packed (Tensor): ``(P, H, w)``.
        vectors (Tensor): ``(P, d, B)``.

    Returns:
        Tensor: ``(P, d, B)``.
    """
    left, right = packed_parts(packed, vectors.shape[1])
    width = left.shape[-1]
    product = torch.bmm(left.tril(), vectors[:, :width])
    product[:, width:].baddbmm_(right.triu().mT, vectors[:, width:])
    return product
