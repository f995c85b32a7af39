"""Affine maps of images as 3 x 3 matrices.

A matrix ``M`` maps a point of the output to the point of the input that its
value is taken from. Coordinates go from -1 to 1 over the image, as in
:func:`torch.nn.functional.grid_sample` with ``align_corners=False``, so that
the same matrix warps an image and its feature maps of any size. Warping by
``M`` and then by ``N`` is warping by ``M N``.

Products are written out instead of calling :func:`torch.matmul` or
:func:`torch.nn.functional.affine_grid`, since autocast would compute these in
half precision, in which a coordinate can be off by half a pixel.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

# The number of parameters of each part of a transform.
MODES = dict(
    affine=dict(rotation=1, translation=2, scale=2, shear=1),
    translation=dict(translation=2),
    rotation=dict(rotation=1),
    scale=dict(scale=2),
    shear=dict(shear=2),
    rotation_scale=dict(rotation=1, scale=2),
    translation_scale=dict(translation=2, scale=2),
    rotation_translation=dict(rotation=1, translation=2),
    rotation_translation_scale=dict(rotation=1, translation=2, scale=2))


def affine_matrix(translation: Tensor, rotation: Tensor, scale: Tensor,
                  shear: Tensor, size: tuple[int, int]) -> Tensor:
    """Make matrices that scale, then shear, rotate and shift coordinates.

    Angles are those seen in the image, also if it is not square.

    Args:
        translation (Tensor): ``(B, 2)`` along x and y, in halves of the
            image's width and height.
        rotation (Tensor): ``(B, 1)`` in radians.
        scale (Tensor): ``(B, 2)`` along x and y.
        shear (Tensor): ``(B, 2)`` of x by y and of y by x.
        size (tuple[int, int]): Height and width of the images in pixels.

    Returns:
        Tensor: ``(B, 3, 3)``.
    """
    cos, sin = rotation.cos(), rotation.sin()
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    turn = _stack([cos, -sin], [sin, cos])
    slant = _stack([one, shear[:, :1]], [shear[:, 1:], one])
    height, width = size
    linear = compose_affine(turn, slant) * scale[:, None]
    linear = linear * linear.new_tensor([[1, height / width],
                                         [width / height, 1]])
    (a, b), (c, d) = (row.unbind(1) for row in linear.unbind(1))
    x, y = translation.unbind(1)
    return _stack([a, b, x], [c, d, y], [zero, zero, one])


def compose_affine(first: Tensor, second: Tensor) -> Tensor:
    """Compose two maps: warp by the first and then by the second.

    Args:
        first (Tensor): ``(B, N, N)``.
        second (Tensor): ``(B, N, N)``.

    Returns:
        Tensor: Their products ``(B, N, N)``.
    """
    return (first[..., None] * second[:, None]).sum(2)


def invert_affine(matrix: Tensor) -> Tensor:
    """Invert affine matrices ``(B, 3, 3)``."""
    (a, b, x), (c, d, y), last = (row.unbind(1) for row in matrix.unbind(1))
    area = a * d - b * c
    return _stack([d / area, -b / area, (b * y - d * x) / area],
                  [-c / area, a / area, (c * x - a * y) / area], last)


def warp(inputs: Tensor, matrix: Tensor, padding: str = 'border') -> Tensor:
    """Resample images or feature maps by affine matrices.

    The interpolation is bilinear.

    Args:
        inputs (Tensor): ``(B, C, H, W)``.
        matrix (Tensor): ``(B, 3, 3)``.
        padding (str): What lies beyond the border: ``'border'``, its values,
            or ``'zeros'``. Defaults to ``'border'``; a reflection would show
            parts that lie close to the border twice.

    Returns:
        Tensor: ``(B, C, H, W)``.
    """
    dtype = torch.promote_types(inputs.dtype, matrix.dtype)
    matrix = matrix.to(dtype)[:, None, None]
    y, x = (_centers(side, matrix) for side in inputs.shape[-2:])
    grid = (
        x[:, None] * matrix[..., :2, 0] +
        y[:, None, None] * matrix[..., :2, 1] + matrix[..., :2, 2])
    return F.grid_sample(
        inputs.to(dtype), grid, padding_mode=padding,
        align_corners=False).to(inputs.dtype)


def describe_affine(matrix: Tensor) -> dict[str, Tensor]:
    """Describe how :func:`warp` moves the content of square images.

    Args:
        matrix (Tensor): ``(B, 3, 3)`` matrices to warp by.

    Returns:
        dict[str, Tensor]: ``(B,)`` each: ``angle`` in degrees, clockwise;
        ``shift_x`` and ``shift_y``, to the right and down, as a share of the
        image's width and height; and ``scale``, the geometric mean of the
        factors by which lengths change.
    """
    matrix = invert_affine(matrix)
    (a, b), (c, d) = (row.unbind(1) for row in matrix[:, :2, :2].unbind(1))
    return dict(
        angle=torch.atan2(c - b, a + d).rad2deg(),
        shift_x=matrix[:, 0, 2] / 2,
        shift_y=matrix[:, 1, 2] / 2,
        scale=(a * d - b * c).abs().sqrt())


def _centers(side: int, like: Tensor) -> Tensor:
    """Return the coordinates ``(side,)`` of the pixels' centers."""
    steps = torch.arange(side, dtype=like.dtype, device=like.device)
    return (2 * steps + 1) / side - 1


def _stack(*rows: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Stack rows of ``(B,)`` or ``(B, 1)`` values to ``(B, N, N)``."""
    return torch.stack(
        [torch.stack([value.flatten() for value in row], 1) for row in rows],
        1)
