"""Find parts in images by templates that are turned and shifted.

Angles are in radians, clockwise as seen. Shifts are along x and y in halves of
the side of square images.
"""
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .affine import affine_matrix, warp
from .exporting import is_exporting

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
    # One by one, since the sums over all angles and shifts are large.
    groups = [images] if is_exporting() else images.split(1)
    found = [_match(group, spectra, max_shift) for group in groups]
    angle, shift, fit = (torch.cat(part) for part in zip(*found))
    return angle, shift, fit


def _match(images: Tensor, spectra: Tensor,
           max_shift: float) -> tuple[Tensor, Tensor, Tensor]:
    number, side = spectra.shape[1:3]
    planes = torch.stack([
        images, -_OVERLAP / 2 * images.square(),
        torch.full_like(images, -_OVERLAP / 2)
    ], 1)
    correlate = _correlate_by_matrices if is_exporting() else _correlate
    fits = correlate(planes, spectra)
    steps = torch.arange(side, device=fits.device)
    steps = (steps + side // 2) % side - side // 2
    far = steps.abs() > max_shift * side / 2
    fits = fits.flatten(2)
    allowed = fits.masked_fill((far | far[:, None]).flatten(), -torch.inf)
    best = allowed.argmax(2)
    y, x = best // side, best % side

    def fit_at(y: Tensor, x: Tensor) -> Tensor:
        return _at(fits, y % side * side + x % side)

    peak = fit_at(y, x)
    down, gain_y = _vertex(fit_at(y - 1, x), peak, fit_at(y + 1, x))
    right, gain_x = _vertex(fit_at(y, x - 1), peak, fit_at(y, x + 1))
    # Of fine edges, a peak between pixels is lower at both of them.
    peak = peak + gain_y + gain_x
    first = peak.argmax(1)
    turn = torch.zeros_like(peak[:, 0])
    if number > 1:
        turn, _ = _vertex(
            _at(peak, (first - 1) % number), _at(peak, first),
            _at(peak, (first + 1) % number))
    shift = torch.stack(
        [_at(steps[x] + right, first),
         _at(steps[y] + down, first)], 1)
    return ((first + turn) * 2 * math.pi / number, shift * 4 / side,
            _at(peak, first))


def _at(values: Tensor, index: Tensor) -> Tensor:
    """The values ``(...)`` at indices ``(...)`` into ``(..., N)``."""
    return values.gather(-1, index[..., None])[..., 0]


def _correlate(planes: Tensor, spectra: Tensor) -> Tensor:
    """Correlate images with templates at all shifts.

    Args:
        planes (Tensor): ``(B, 3, S, S)``.
        spectra (Tensor): ``(3, R, 2 S, S + 1)`` complex, conjugate.

    Returns:
        Tensor: ``(B, R, 2 S, 2 S)``, the sum over the three.
    """
    size = 2 * [spectra.shape[2]]
    planes = torch.fft.rfft2(planes, size)[:, :, None]
    fits = torch.fft.irfft2((planes * spectra).sum(1).flatten(0, 1), size)
    return fits.unflatten(0, (len(planes), -1))


def _correlate_by_matrices(planes: Tensor, spectra: Tensor) -> Tensor:
    """Do the same by products of real matrices.

    They are as fast for these sizes, and in all formats of graphs, unlike
    Fourier transforms and complex numbers.
    """
    side, half = spectra.shape[2:]
    steps = np.arange(side)
    angle = 2 * np.pi / side * (np.outer(steps, steps) % side)
    cos, sin = (
        torch.from_numpy(part).to(planes)
        for part in (np.cos(angle), np.sin(angle)))
    inner = planes.shape[-1]
    # Along the rows, of which half a spectrum is enough, then the columns.
    real = planes @ cos[:inner, :half]
    imag = -planes @ sin[:inner, :half]
    real, imag = (cos[:, :inner] @ real + sin[:, :inner] @ imag,
                  cos[:, :inner] @ imag - sin[:, :inner] @ real)
    real, imag = real[:, :, None], imag[:, :, None]
    other_real, other_imag = torch.view_as_real(spectra).unbind(-1)
    real, imag = ((real * other_real - imag * other_imag).sum(1),
                  (real * other_imag + imag * other_real).sum(1))
    # And back.
    real, imag = cos @ real - sin @ imag, cos @ imag + sin @ real
    twice = cos.new_full((half, 1), 2 / side**2)
    twice[0] = twice[-1] = 1 / side**2
    return real @ (twice * cos[:half]) - imag @ (twice * sin[:half])


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
