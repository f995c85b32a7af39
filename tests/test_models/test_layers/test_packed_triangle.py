import pytest
import torch

from mmad.models.layers.packed_triangle import (
    add_gram,
    pack,
    packed_masks,
    packed_matmul,
    packed_shape,
    unpack,
)

DIMS = [1, 2, 3, 4, 7, 10]


def matrices(dim):
    generator = torch.Generator().manual_seed(dim)
    return torch.randn(5, dim, dim, generator=generator)


@pytest.mark.parametrize('dim', DIMS)
def test_shape_has_room_for_the_triangle_and_no_more(dim):
    height, width = packed_shape(dim)
    assert height * width == dim * (dim + 1) // 2


@pytest.mark.parametrize('dim', DIMS)
def test_round_trip(dim):
    square = matrices(dim)
    packed = pack(square)
    assert packed.shape == (5, *packed_shape(dim))
    assert torch.equal(unpack(packed, dim), square.tril())
    assert torch.equal(pack(unpack(packed, dim)), packed)


@pytest.mark.parametrize('dim', DIMS)
def test_matmul(dim):
    square = matrices(dim)
    vectors = matrices(dim)[..., :3]
    torch.testing.assert_close(
        packed_matmul(pack(square), vectors, packed_masks(dim, square)),
        square.tril() @ vectors)


@pytest.mark.parametrize('dim', DIMS)
def test_gram(dim):
    columns = matrices(dim)[..., :3]
    start = matrices(dim)
    packed = pack(start)
    add_gram(packed, columns, packed_masks(dim, packed))
    torch.testing.assert_close(
        unpack(packed, dim), (start + columns @ columns.mT).tril())
