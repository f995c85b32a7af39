"""Affine maps of images as 3 x 3 matrices.

A matrix ``M`` maps a point of the output to the one of the input that is seen
there, both from -1 to 1 over the image as in
:func:`torch.nn.functional.grid_sample` with ``align_corners=False``. So
warping by ``M`` and then by ``N`` is warping by ``M @ N``, and the matrix of
an image is good for feature maps of any size.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

# How many numbers each part of a transform takes.
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


def affine_matrix(translation: Tensor,
                  rotation: Tensor,
                  scale: Tensor,
                  shear: Tensor,
                  size: tuple[int, int]) -> Tensor:
    """Matrices that scale first, then shear, rotate and shift.

    Angles are those of the picture, also where it is not square.

    Args:
        translation (Tensor): ``(B, 2)`` along x and y; 1 is half the image.
        rotation (Tensor): ``(B, 1)`` in radians.
        scale (Tensor): ``(B, 2)`` along x and y.
        shear (Tensor): ``(B, 2)`` of x by y and of y by x.
        size (tuple[int, int]): Height and width of the images.

    Returns:
        Tensor: ``(B, 3, 3)``.
    """
    cos, sin = rotation.cos(), rotation.sin()
    turn = torch.stack([cos, -sin, sin, cos], -1).view(-1, 2, 2)
    one = torch.ones_like(cos)
    slant = torch.stack([one, shear[:, :1], shear[:, 1:], one],
                        -1).view(-1, 2, 2)
    linear = turn @ slant * scale[:, None]
    height, width = size
    aspect = linear.new_tensor([[1, height / width], [width / height, 1]])
    top = torch.cat([linear * aspect, translation[:, :, None]], 2)
    bottom = top.new_tensor([0, 0, 1]).expand(len(top), 1, 3)
    return torch.cat([top, bottom], 1)


def invert_affine(matrix: Tensor) -> Tensor:
    """Inverses ``(B, 3, 3)`` of affine matrices ``(B, 3, 3)``."""
    linear, shift = matrix[:, :2, :2], matrix[:, :2, 2:]
    (a, b), (c, d) = (row.unbind(1) for row in linear.unbind(1))
    adjugate = torch.stack([d, -b, -c, a], 1).view(-1, 2, 2)
    inverse = adjugate / (a * d - b * c)[:, None, None]
    top = torch.cat([inverse, -(inverse @ shift)], 2)
    return torch.cat([top, matrix[:, 2:]], 1)


def warp(inputs: Tensor, matrix: Tensor) -> Tensor:
    """Resample images or feature maps by affine matrices.

    Bilinear; what lies beyond the border is its reflection.

    Args:
        inputs (Tensor): ``(B, C, H, W)``.
        matrix (Tensor): ``(B, 3, 3)``.

    Returns:
        Tensor: ``(B, C, H, W)``.
    """
    grid = F.affine_grid(
        matrix[:, :2], list(inputs.shape), align_corners=False)
    return F.grid_sample(
        inputs, grid.to(inputs.dtype), padding_mode='reflection',
        align_corners=False)


def describe_affine(matrix: Tensor) -> dict[str, Tensor]:
    """Tell what affine matrices of square images do.

    Args:
        matrix (Tensor): ``(B, 3, 3)``.

    Returns:
        dict[str, Tensor]: ``(B,)`` each: ``angle`` in degrees, ``shift_x``
        and ``shift_y`` as a share of the image's width and height, and
        ``scale``, by which lengths are multiplied in the mean.
    """
    (a, b), (c, d) = (row.unbind(1) for row in matrix[:, :2, :2].unbind(1))
    return dict(
        angle=torch.atan2(c - b, a + d).rad2deg(),
        shift_x=matrix[:, 0, 2] / 2,
        shift_y=matrix[:, 1, 2] / 2,
        scale=(a * d - b * c).abs().sqrt())
