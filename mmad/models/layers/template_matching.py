"""Find parts in images by templates that are turned and shifted.

Angles are in radians, clockwise as seen. Shifts are along x and y in halves of
the side of square images.
"""
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .affine import affine_matrix, warp

# How much less edges count beyond the overlap of image and template.
_OVERLAP = 0.3
_TINY = 1e-12


def edge_maps(images: Tensor) -> Tensor:
    """Compute edges at half the size, from 0 to 1.

    With the magnitude ``m`` of the gradient over all colors, they are the
    means of ``m / (m + mean(m))`` over 2 x 2 pixels.

    Args:
        images (Tensor): ``(B, C, 2 h, 2 w)``.

    Returns:
        Tensor: ``(B, 1, h, w)``.
    """
    framed = F.pad(images, (1, 1, 1, 1), mode='replicate')
    right = framed[..., 1:-1, 2:] - framed[..., 1:-1, :-2]
    down = framed[..., 2:, 1:-1] - framed[..., :-2, 1:-1]
    slope = (right.square() + down.square()).sum(1, keepdim=True).sqrt()
    mean = slope.mean((1, 2, 3), keepdim=True)
    return F.avg_pool2d(slope / (slope + mean).clamp(min=_TINY), 2)


def rigid(angle: Tensor, shift: Tensor, size: Sequence[int]) -> Tensor:
    """Make matrices ``(B, 3, 3)`` of rotations ``(B,)`` and then shifts.

    Args:
        angle (Tensor): ``(B,)``.
        shift (Tensor): ``(B, 2)`` in halves of width and height.
        size (Sequence[int]): Height and width of the images.

    Returns:
        Tensor: See :mod:`~mmad.models.layers.affine`.
    """
    height, width = size
    return affine_matrix(shift, angle[:, None], torch.ones_like(shift),
                         torch.zeros_like(shift), (height, width))


def turned_spectra(template: Tensor, num_angles: int) -> Tensor:
    """Prepare a template for :func:`match`.

    Args:
        template (Tensor): ``(1, S, S)``.
        num_angles (int): Number R of directions, evenly on the circle.

    Returns:
        Tensor: ``(3, R, 2 S, S + 1)`` complex, the conjugate spectra of the
        turned template, of its frame and of its square.
    """
    angle = torch.arange(num_angles).to(template) * 2 * math.pi
    turn = rigid(-angle / num_angles, template.new_zeros(num_angles, 2),
                 template.shape[1:])
    planes = torch.cat(
        [template, torch.ones_like(template),
         template.square()])
    copies = warp(planes.expand(num_angles, *planes.shape), turn, 'zeros')
    size = [2 * side for side in template.shape[1:]]
    return torch.fft.rfft2(copies.transpose(0, 1), size).conj().resolve_conj()


def match(images: Tensor, spectra: Tensor,
          max_shift: float) -> tuple[Tensor, Tensor, Tensor]:
    """Find the angle and shift at which images are closest to a template.

    Closest is where ``sum((image - template)^2)`` is least, in which what lies
    in only one of both frames is compared with 0, at 0.7 of the weight. All
    shifts by whole pixels are compared; parabolas interpolate.

    Args:
        images (Tensor): ``(B, S, S)``.
        spectra (Tensor): Of :func:`turned_spectra`.
        max_shift (float): Largest shift along x and y, as a share of S.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Angles ``(B,)`` and shifts ``(B, 2)`` of
        the images, and how well they fit, ``(B,)``.
    """
    found = [_match_one(one, spectra, max_shift) for one in images]
    angle, shift, fit = (torch.stack(part) for part in zip(*found))
    return angle, shift, fit


def _match_one(image: Tensor, spectra: Tensor,
               max_shift: float) -> tuple[Tensor, Tensor, Tensor]:
    number, side = spectra.shape[1:3]
    planes = torch.stack([
        image, -_OVERLAP / 2 * image.square(),
        torch.full_like(image, -_OVERLAP / 2)
    ])
    planes = torch.fft.rfft2(planes, (side, side))
    fits = torch.fft.irfft2((planes[:, None] * spectra).sum(0), (side, side))
    steps = torch.arange(side, device=fits.device)
    steps = (steps + side // 2) % side - side // 2
    far = steps.abs() > max_shift * side / 2
    allowed = fits.masked_fill(far | far[:, None], -torch.inf)
    best = allowed.flatten(1).argmax(1)
    y, x = best // side, best % side
    every = torch.arange(number, device=fits.device)
    peak = fits[every, y, x]
    down, gain_y = _vertex(fits[every, y - 1, x], peak,
                           fits[every, (y + 1) % side, x])
    right, gain_x = _vertex(fits[every, y, x - 1], peak, fits[every, y,
                                                              (x + 1) % side])
    # Of fine edges, a peak between pixels is lower at both of them.
    peak = peak + gain_y + gain_x
    first = peak.argmax()
    turn = torch.zeros_like(peak[first])
    if number > 1:
        turn, _ = _vertex(peak[first - 1], peak[first],
                          peak[(first + 1) % number])
    shift = torch.stack([steps[x] + right, steps[y] + down], 1)[first]
    return ((first + turn) * 2 * math.pi / number, shift * 4 / side,
            peak[first])


def _vertex(before: Tensor, peak: Tensor,
            after: Tensor) -> tuple[Tensor, Tensor]:
    """Find where the parabola through three values is highest.

    Returns:
        tuple[Tensor, Tensor]: The step from the middle, at most 0.5 in either
        direction, and how much higher it is there.
    """
    # At the largest shift, the next value may be higher.
    before, after = before.minimum(peak), after.minimum(peak)
    bend = (2 * peak - before - after).clamp(min=_TINY)
    step = ((after - before) / (2 * bend)).clamp(-0.5, 0.5)
    return step, (after - before) * step / 4
