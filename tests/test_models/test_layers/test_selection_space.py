import torch

from mmad.models.layers import selection_space
from mmad.models.layers.selection_space import SelectionSpace


def draw(number, dim, seed=0):
    return torch.randn(
        number, dim, generator=torch.Generator().manual_seed(seed))


def test_without_a_projection_patches_stay():
    rows = draw(5, 7).half()
    found = SelectionSpace(None, 0).project(rows, torch.zeros(5))
    assert found.dtype == torch.float32
    assert torch.equal(found, rows.float())


def test_it_is_linear_and_keeps_distances_roughly():
    rows = draw(40, 600)
    images = torch.arange(4).repeat_interleave(10)
    space = SelectionSpace(256, 3)
    found = space.project(rows, images)
    assert found.shape == (40, 256)
    doubled = space.project(rows * 2, images)
    assert torch.equal(doubled, found * 2)
    ratios = torch.pdist(found.double()) / torch.pdist(rows.double())
    # Johnson and Lindenstrauss: a deviation of 1 / sqrt(2 dim) = 0.044.
    assert 0.78 < ratios.min() <= ratios.max() < 1.22


def test_an_image_is_projected_as_if_alone():
    rows = draw(23, 64)
    images = torch.tensor([5] * 4 + [1] * 16 + [2] * 3)
    found = SelectionSpace(16, 0).project(rows, images)
    for start, stop in ((0, 4), (4, 20), (20, 23)):
        alone = SelectionSpace(16, 0).project(rows[start:stop],
                                              images[start:stop])
        assert torch.equal(alone, found[start:stop])
    assert not torch.equal(found, SelectionSpace(16, 1).project(rows, images))


def test_ranks_are_those_of_the_projected_patches(monkeypatch):
    rows, space = draw(30, 64), SelectionSpace(8, 0)
    monkeypatch.setattr(selection_space, 'covering_gaps', lambda *args: args)
    projected, *options = space.rank(rows, 4, 0.5, 12)
    assert options == [0.5, 12]
    assert torch.equal(projected, space.project(rows, torch.full((30, ), 4)))


def test_random_ranks_depend_on_the_image_and_the_seed_only():
    ranks, gap = SelectionSpace(8, 1).draw(draw(2000, 4), 3)
    assert gap == 0
    assert ranks.dtype == torch.float64
    assert 0 <= ranks.min() < 0.01 < 0.99 < ranks.max() < 1
    again, _ = SelectionSpace(8, 1).draw(draw(2000, 4, seed=9), 3)
    assert torch.equal(ranks, again)
    for seed, image in ((1, 4), (2, 3)):
        other, _ = SelectionSpace(8, seed).draw(draw(2000, 4), image)
        assert not torch.equal(ranks, other)
