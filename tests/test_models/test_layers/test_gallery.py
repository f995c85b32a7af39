import pytest
import torch

from mmad.errors import InputError
from mmad.models.layers import Gallery

GRIDS = [(3, 4, 4), (5, 2, 2)]  # channels, height, width


def draw(number, seed=0):
    """Image features and two stages of some images."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(number, 6, generator=generator),
            *(torch.randn(number, *shape, generator=generator)
              for shape in GRIDS))


def fit(features, order):
    gallery = Gallery(2)
    gallery.num_images = len(order)
    gallery.reset()
    for ids in torch.tensor(order).split(2):
        gallery.update(tuple(part[ids] for part in features), ids.tolist())
    gallery.finalize()
    return gallery


@pytest.mark.parametrize('order', [[0, 1, 2, 3, 4], [3, 0, 4, 2, 1]])
def test_nearest_images(order):
    features, queries = draw(5), draw(3, seed=1)[0]
    gallery = fit(features, order)
    assert gallery.is_fitted
    distances, nearest = gallery(queries, 2)
    expected = torch.cdist(queries, features[0]).topk(2, largest=False)
    assert torch.equal(nearest, expected.indices)
    torch.testing.assert_close(distances, expected.values)
    # All where there are fewer.
    assert gallery(queries, 9)[1].shape == (3, 5)


def test_an_image_is_not_its_own_neighbor():
    features = draw(5)
    gallery = fit(features, [0, 1, 2, 3, 4])
    with_itself = gallery(features[0], 9)[1]
    assert torch.equal(with_itself[:, 0], torch.arange(5))
    for part in gallery.modules():
        part.left_out = [3, 1]
    nearest = gallery(features[0][[3, 1]], 9)[1]
    assert torch.equal(nearest, with_itself[[3, 1], 1:])


def test_the_only_image_cannot_be_left_out():
    gallery = fit(draw(1), [0])
    for part in gallery.modules():
        part.left_out = [0]
    with pytest.raises(InputError, match='of image 0, 0 rows are left'):
        gallery(draw(1)[0], 9)


@pytest.mark.parametrize('stages', [[0], [1], [0, 1]])
@pytest.mark.parametrize('images', [[2], [4, 0, 1]])
def test_nearest_positions_by_brute_force(stages, images):
    features = draw(5)
    query = [part[0] for part in draw(1, seed=2)[1:]]
    gallery = fit(features, [0, 1, 2, 3, 4])
    found = gallery.nearest_positions(query, images, 2, stages)
    side = GRIDS[stages[0]][1]

    def rows(levels):
        grown = [
            torch.nn.functional.interpolate(levels[s][None], (side, side))[0]
            for s in stages
        ]
        return torch.cat(grown).flatten(1).T.double()

    others = torch.cat(
        [rows([part[i] for part in features[1:]]) for i in images])
    expected = torch.cdist(rows(query), others).square()
    expected = expected.topk(2, largest=False).values.float()
    torch.testing.assert_close(
        found, expected.view(side, side, 2), rtol=1e-4, atol=1e-5)
