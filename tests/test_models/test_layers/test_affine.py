import math

import pytest
import torch

from mmad.models.layers import (
    affine_matrix,
    compose_affine,
    describe_affine,
    invert_affine,
    warp,
)


def random_matrices(number=5, size=(40, 40), dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)

    def between(low, high, *shape):
        return low + (high - low) * torch.rand(
            number, *shape, generator=draw, dtype=dtype)

    return affine_matrix(
        between(-0.2, 0.2, 2), between(-0.3, 0.3, 1), between(0.8, 1.25, 2),
        between(-0.2, 0.2, 2), size)


@pytest.fixture
def blobs():
    """Smooth images ``(5, 2, 40, 40)``."""
    noise = torch.rand(
        5,
        2,
        8,
        8,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(
        noise, size=(40, 40), mode='bicubic')


def parts(number=1, **given):
    neutral = dict(
        translation=torch.zeros(number, 2),
        rotation=torch.zeros(number, 1),
        scale=torch.ones(number, 2),
        shear=torch.zeros(number, 2))
    return {**neutral, **given}


def test_neutral_numbers_are_the_identity(blobs):
    matrix = affine_matrix(**parts(5), size=(40, 40))
    assert torch.equal(matrix, torch.eye(3).expand(5, 3, 3))
    torch.testing.assert_close(warp(blobs, matrix.double()), blobs)


def test_translation_moves_by_pixels(blobs):
    shift = torch.tensor([[2 * 3 / 40, 2 * 5 / 40]])
    matrix = affine_matrix(**parts(translation=shift), size=(40, 40))
    moved = warp(blobs[:1], matrix.double())
    torch.testing.assert_close(
        moved[..., :-5, :-3], blobs[:1, :, 5:, 3:], atol=1e-6, rtol=0)


def test_a_quarter_turn_of_a_square(blobs):
    matrix = affine_matrix(
        **parts(rotation=torch.tensor([[math.pi / 2]])), size=(40, 40))
    turned = warp(blobs[:1], matrix.double())
    torch.testing.assert_close(
        turned, blobs[:1].rot90(1, (2, 3)), atol=1e-5, rtol=0)


def test_rotations_keep_angles_where_images_are_not_square():
    wide = torch.zeros(1, 1, 40, 80, dtype=torch.float64)
    wide[..., 18:22, 10:70] = 1
    matrix = affine_matrix(
        **parts(rotation=torch.tensor([[math.pi / 2]])), size=(40, 80))
    turned = warp(wide, matrix.double())
    # As wide as the bar was high, and upright; further out it is repeated.
    torch.testing.assert_close(turned[..., 10, 20:60].sum(),
                               torch.tensor(4.0, dtype=torch.float64))


def test_inverse():
    matrix = random_matrices()
    torch.testing.assert_close(invert_affine(matrix), torch.linalg.inv(matrix))
    torch.testing.assert_close(
        compose_affine(invert_affine(matrix), matrix),
        torch.eye(3, dtype=torch.float64).expand(5, 3, 3))


def test_warping_there_and_back(blobs):
    matrix = random_matrices()
    there = warp(blobs, matrix)
    back = warp(there, invert_affine(matrix))
    middle = (..., slice(14, 26), slice(14, 26))
    away = (there - blobs)[middle].abs().mean()
    assert (back - blobs)[middle].abs().mean() < 0.1 * away


def test_product_is_one_warp_after_the_other(blobs):
    first = random_matrices()
    second = invert_affine(first).roll(1, 0)
    middle = (..., slice(16, 24), slice(16, 24))
    twice = warp(warp(blobs, first), second)
    error, wrong = ((twice - warp(blobs, product))[middle].abs().mean()
                    for product in (compose_affine(first, second),
                                    compose_affine(second, first)))
    assert error < 0.2 * wrong


def test_gradients_reach_numbers_and_images():
    size = (5, 6)
    images = torch.rand(2, 1, *size, dtype=torch.float64, requires_grad=True)
    numbers = [(0.1 * torch.rand(2, width, dtype=torch.float64) +
                start).requires_grad_()
               for width, start in ((2, 0.03), (1, 0.1), (2, 0.9), (2, 0.05))]

    def moved(images, *numbers):
        return warp(images, affine_matrix(*numbers, size=size))

    assert torch.autograd.gradcheck(moved, (images, *numbers))


def test_description():
    numbers = parts(
        rotation=torch.tensor([[0.2]]),
        scale=torch.tensor([[1.2, 1.2]]),
        translation=torch.tensor([[0.1, -0.2]]))
    # What is seen moves by the inverse of where it is looked up.
    found = describe_affine(
        invert_affine(affine_matrix(**numbers, size=(7, 7))))
    assert {
        name: round(float(value), 4)
        for name, value in found.items()
    } == dict(
        angle=11.4592, shift_x=0.05, shift_y=-0.1, scale=1.2)


def test_description_is_of_what_is_seen():
    image = torch.zeros(1, 1, 40, 40)
    image[..., 10:14, 8:12] = 1
    matrix = affine_matrix(
        **parts(translation=torch.tensor([[-0.2, -0.4]])), size=(40, 40))
    found = describe_affine(matrix)
    rows, columns = warp(image, matrix)[0, 0].nonzero().double().mean(0)
    assert float(columns) - 9.5 == pytest.approx(40 * found['shift_x'].item())
    assert float(rows) - 11.5 == pytest.approx(40 * found['shift_y'].item())


def test_what_lies_beyond_the_border_is_finite(blobs):
    shift = torch.full((5, 2), 0.9)
    matrix = affine_matrix(**parts(5, translation=shift), size=(40, 40))
    moved = warp(blobs, matrix.double())
    assert moved.isfinite().all()
    assert moved.min() >= blobs.min()
    assert moved.max() <= blobs.max()


@pytest.mark.parametrize('padding', ['border', 'zeros'])
def test_warp_is_that_of_torch(blobs, padding):
    matrix = random_matrices()
    grid = torch.nn.functional.affine_grid(
        matrix[:, :2], blobs[..., :30].shape, align_corners=False)
    torch.testing.assert_close(
        warp(blobs[..., :30], matrix, padding),
        torch.nn.functional.grid_sample(
            blobs[..., :30], grid, padding_mode=padding, align_corners=False))


def test_mixed_precision(blobs):
    matrix = random_matrices(dtype=torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        product = compose_affine(matrix, invert_affine(matrix))
        moved = warp(blobs.bfloat16(), matrix)
    torch.testing.assert_close(product, torch.eye(3).expand(5, 3, 3))
    assert moved.dtype == torch.bfloat16
    torch.testing.assert_close(
        moved.double(), warp(blobs, matrix.double()), atol=0.01, rtol=0.01)
