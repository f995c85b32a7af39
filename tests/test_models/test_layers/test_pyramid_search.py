import pytest
import torch

from mmad.models.layers import nearest_in_images, pyramid_search
from mmad.models.layers.pyramid import to_grid
from mmad.models.layers.pyramid_search import parent_cells

GRIDS = [
    [(8, 8), (4, 4), (2, 2)],
    [(7, 10), (4, 5), (2, 3)],  # sides that do not divide
    [(6, 4), (6, 4)],
    [(6, 5)],
]


def make_images(grids, number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [[
        torch.randn(h * w, 3 + 2 * k, generator=generator) + 5
        for k, (h, w) in enumerate(grids)
    ] for _ in range(number)]


def pyramid(levels, grids):
    """The concatenated features ``(P, C)`` in float64."""
    return torch.cat([
        to_grid(level.T.unflatten(1, grid)[None], grids[0])
        for level, grid in zip(levels, grids, strict=True)
    ], 1).flatten(2)[0].T.double()


def brute_force(query, grids, gallery, images, k):
    rows = torch.cat([pyramid(gallery[i], grids) for i in images])
    differences = pyramid(query, grids)[:, None] - rows
    return differences.square().sum(2).topk(k, largest=False).values


@pytest.mark.parametrize('block', [1, 200, 1 << 20])
@pytest.mark.parametrize('k', [1, 2, 7])
@pytest.mark.parametrize('grids', GRIDS)
def test_equals_brute_force(monkeypatch, grids, k, block):
    monkeypatch.setattr(pyramid_search, '_BLOCK', block)
    query, *gallery = make_images(grids, 5)
    images = [2, 0, 3]
    found = nearest_in_images(query, grids, gallery.__getitem__, images, k)
    torch.testing.assert_close(
        found.double(),
        brute_force(query, grids, gallery, images, k),
        rtol=1e-5,
        atol=1e-5)


@pytest.mark.parametrize('grids', GRIDS)
def test_an_image_of_the_gallery_is_at_distance_zero(grids):
    gallery = make_images(grids, 3)
    found = nearest_in_images(gallery[1], grids, gallery.__getitem__, range(3))
    assert torch.equal(found, torch.zeros_like(found))


@pytest.mark.parametrize('grids', GRIDS)
def test_all_positions_of_all_images_can_be_asked_for(grids):
    query, *gallery = make_images(grids, 3)
    number = 2 * len(query[0])
    found = nearest_in_images(query, grids, gallery.__getitem__, range(2),
                              number)
    assert found.shape == (len(query[0]), number)
    torch.testing.assert_close(
        found.double(),
        brute_force(query, grids, gallery, range(2), number),
        rtol=1e-5,
        atol=1e-5)


@pytest.mark.parametrize('grids', GRIDS)
def test_parent_cells(grids):
    cells = parent_cells(tuple(grids), torch.device('cpu'))
    positions = grids[0][0] * grids[0][1]
    children = cells.children[cells.children >= 0]
    assert children.sort().values.tolist() == list(range(positions))
    for cell, own in enumerate(cells.children.T):
        assert (cells.cell[own[own >= 0]] == cell).all()
    for (h, w), parent in zip(grids[1:], cells.parents, strict=True):
        numbers = torch.arange(float(h * w)).view(1, 1, h, w)
        assert torch.equal(parent[cells.cell],
                           to_grid(numbers, grids[0]).flatten().long())
