import math

import pytest
import torch

from mmad.models.layers import warp
from mmad.models.layers.affine import invert_affine
from mmad.models.layers.template_matching import (
    edge_maps,
    match,
    rigid,
    turned_spectra,
)

SIDE = 12


@pytest.fixture
def template():
    generator = torch.Generator().manual_seed(0)
    template = torch.zeros(1, SIDE, SIDE)
    template[0, 3:9, 3:9] = torch.rand(6, 6, generator=generator)
    return template


def place(template, y, x):
    """Put a template on a plane of zeros, shifted by so many pixels."""
    plane = torch.zeros(3 * SIDE, 3 * SIDE)
    plane[SIDE + y:2 * SIDE + y, SIDE + x:2 * SIDE + x] = template
    return plane


def brute_force(image, template, max_shift, num_angles):
    """The best fit of whole steps, and its turn and shift, one by one."""
    fits = {}
    reach = int(max_shift * SIDE)
    plane, inside = place(image, 0, 0), place(torch.ones(SIDE, SIDE), 0, 0)
    for number in range(num_angles):
        angle = torch.tensor([-2 * math.pi * number / num_angles])
        matrix = rigid(angle, torch.zeros(1, 2), (SIDE, SIDE))
        turned, square, frame = (
            warp(part[None], matrix,
                 'zeros')[0, 0] for part in (template, template.square(),
                                             torch.ones_like(template)))
        for y in range(-reach, reach + 1):
            for x in range(-reach, reach + 1):
                fits[number, y,
                     x] = (plane * place(turned, y, x) -
                           plane.square() * place(frame, y, x) * 0.15 -
                           place(square, y, x) * inside * 0.15).sum()
    best = max(fits, key=fits.get)
    return fits[best], best


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('max_shift', [0.2, 0.5])
def test_best_match_is_that_of_brute_force(template, seed, max_shift):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(SIDE, SIDE, generator=generator)
    best, (_, y, x) = brute_force(image, template, max_shift, 1)
    angle, shift, fit = match(image[None], turned_spectra(template, 1),
                              max_shift)
    assert angle == 0
    assert (shift[0] * SIDE / 2 - torch.tensor([x, y])).abs().max() <= 0.5
    assert best - 1e-4 <= fit[0] <= best + 0.5
    # Of several turns, it is the one that fits best between the steps.
    best, _ = brute_force(image, template, max_shift, 5)
    fit = match(image[None], turned_spectra(template, 5), max_shift)[2]
    assert best - 1e-4 <= fit[0] <= best + 0.5


@pytest.mark.parametrize('degrees', [0, 33, 123, 180, 251, -7])
def test_copies_are_found_between_the_steps(degrees):
    # A smooth pattern, so that a turned copy is well defined.
    generator = torch.Generator().manual_seed(1)
    pattern = torch.rand(1, 1, 4, 4, generator=generator)
    pattern = torch.nn.functional.interpolate(
        pattern, size=(24, 24), mode='bicubic')
    template = torch.nn.functional.pad(pattern, (12, 12, 12, 12))
    angle = torch.tensor([math.radians(degrees)])
    shift = torch.tensor([[0.12, -0.21]])
    image = warp(template, invert_affine(rigid(angle, shift, (48, 48))),
                 'zeros')
    found, moved, fit = match(image[0], turned_spectra(template[0], 24), 0.5)
    error = (found - angle + math.pi) % (2 * math.pi) - math.pi
    assert error.abs() < math.radians(2)
    torch.testing.assert_close(moved, shift, atol=0.03, rtol=0)
    assert fit > 0


def test_edges_do_not_depend_on_contrast_and_brightness():
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(2, 3, 16, 20, generator=generator)
    edges = edge_maps(images)
    assert edges.shape == (2, 1, 8, 10)
    assert edges.min() >= 0
    assert edges.max() <= 1
    torch.testing.assert_close(edge_maps(5 * images - 3), edges)
    assert torch.equal(
        edge_maps(torch.ones(1, 3, 8, 8)), torch.zeros(1, 1, 4, 4))
