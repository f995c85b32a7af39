import math

import torch
from torch import Tensor

# Matrices up to this size are left to LAPACK.
_SMALL = 32
# Of the sum of a geometric series.
_PRECISION = 1e-9


def invert_cholesky(matrices: Tensor) -> Tensor:
    """Compute the inverse Cholesky factors of many small matrices.

    Each matrix is divided into halves, again and again, so that most of the
    work is done by batched products and not by LAPACK on one matrix after the
    other:

    ::

        [A  B^T]       [a         0]
        [B  C  ]  ->   [-c (D a)  c]   with D = B a^T

    where ``a`` and ``c`` are the inverse factors of ``A`` and of
    ``C - D D^T``.

    Args:
        matrices (Tensor): ``(P, d, d)``, symmetric and positive definite.
            Only their lower triangles are read.

    Returns:
        Tensor: ``(P, d, d)``, ``L^-1`` of each matrix ``L L^T``, zero above
        the diagonal.

    Raises:
        torch.linalg.LinAlgError: A matrix is not positive definite.
    """
    dim = matrices.shape[-1]
    if dim <= _SMALL:
        lower = torch.linalg.cholesky(matrices)
        unit = torch.eye(dim, dtype=lower.dtype, device=lower.device)
        return torch.linalg.solve_triangular(
            lower, unit.expand_as(lower), upper=False)
    half = dim // 2
    inverse = torch.zeros_like(matrices)
    first = invert_cholesky(matrices[:, :half, :half])
    below = matrices[:, half:, :half] @ first.mT
    last = invert_cholesky(
        torch.baddbmm(matrices[:, half:, half:], below, below.mT, alpha=-1))
    inverse[:, :half, :half] = first
    inverse[:, half:, half:] = last
    inverse[:, half:, :half] = -last @ (below @ first)
    return inverse


def shifted_norms(inverse: Tensor, vectors: Tensor, shift: float,
                  least: float) -> Tensor:
    """Compute ``d^T (A - shift I)^-1 d`` from the factor of ``A``.

    It is the sum of ``shift^k d^T A^-(k+1) d``. As ``A`` is at least
    ``least I``, each term is at most ``shift / least`` of the one before.

    Args:
        inverse (Tensor): ``(P, D, D)`` float64, ``L^-1`` with
            ``A = L L^T``.
        vectors (Tensor): ``d``, ``(P, B, D)``.
        shift (float): Positive, below ``least``.
        least (float): Bound of the eigenvalues of ``A`` from below.

    Returns:
        Tensor: ``(P, B)``.
    """
    total = vectors.new_zeros(vectors.shape[:2])
    terms = math.log(_PRECISION, shift / least)
    # Two terms at a time.
    for _ in range(math.ceil(terms / 2)):
        half = vectors @ inverse.mT
        vectors = half @ inverse
        total += half.square().sum(2) + shift * vectors.square().sum(2)
        vectors = shift * vectors
    return total
