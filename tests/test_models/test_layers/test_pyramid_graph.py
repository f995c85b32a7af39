import pytest
import torch
from torch.nn.functional import interpolate

from mmad.models.layers.pyramid_graph import nearest_in_gallery

GRIDS = [
    [(6, 8), (3, 4), (2, 2)],
    [(7, 5), (4, 3)],  # sides that do not divide
    [(4, 6), (4, 6)],
    [(5, 3)],
]


def draw(grids, number, seed):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(number, 3 + 2 * k, *grid, generator=generator) + 5
        for k, grid in enumerate(grids)
    ]


def rows(maps, image):
    """The concatenated features ``(P, C)`` of an image, in float64."""
    grown = [
        interpolate(part[image, None], maps[0].shape[2:]) for part in maps
    ]
    return torch.cat(grown, 1).flatten(2)[0].T.double()


def search(query, gallery, images, k):
    return nearest_in_gallery(query, [part.flatten(2).mT for part in gallery],
                              torch.tensor(images), k)


@pytest.mark.parametrize('grids', GRIDS)
@pytest.mark.parametrize('k', [1, 3])
@pytest.mark.parametrize('images', [[[4], [1]], [[2, 0, 3], [3, 4, 1]]])
def test_equals_brute_force(grids, k, images):
    query, gallery = draw(grids, 2, 0), draw(grids, 5, 1)
    found = search(query, gallery, images, k)
    for number, own in enumerate(images):
        others = torch.cat([rows(gallery, image) for image in own])
        squared = (rows(query, number)[:, None] - others).square().sum(2)
        expected = squared.topk(k, largest=False).values
        torch.testing.assert_close(
            found[number].flatten(0, 1).double(),
            expected,
            rtol=1e-5,
            atol=1e-5)


@pytest.mark.parametrize('grids', GRIDS)
def test_an_image_of_the_gallery_is_at_distance_zero(grids):
    gallery = draw(grids, 3, 2)
    found = search(gallery, gallery, [[0], [1], [2]], 1)
    assert torch.equal(found, torch.zeros(3, *grids[0], 1))


def test_all_positions_of_all_images():
    query, gallery = draw(GRIDS[1], 1, 3), draw(GRIDS[1], 2, 4)
    found = search(query, gallery, [[1, 0]], 2 * 7 * 5)
    assert found.shape == (1, 7, 5, 2 * 7 * 5)
    others = torch.cat([rows(gallery, image) for image in (0, 1)])
    squared = (rows(query, 0)[:, None] - others).square().sum(2)
    torch.testing.assert_close(
        found[0].flatten(0, 1).double(),
        squared.sort().values,
        rtol=1e-5,
        atol=1e-5)
