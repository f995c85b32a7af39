import pytest
import torch

from mmad.models.layers import coreset_filling
from mmad.models.layers.coreset import k_center_greedy
from mmad.models.layers.coreset_filling import _CenterSearch, fill_coreset
from mmad.models.layers.processes import world_size

IMAGES, PER_IMAGE, DIM = 6, 20, 4


def draw(seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(IMAGES * PER_IMAGE, DIM, generator=generator)
    images = torch.arange(IMAGES).repeat_interleave(PER_IMAGE)
    return rows, images


def fill(rows, images, chosen, own=slice(None), **progress):
    return fill_coreset(rows[own],
                        torch.arange(len(rows))[own], images[own],
                        rows[chosen], images[chosen], **progress)


def brute_force(rows, images, chosen):
    """For each image, the picks in a loop over a float64 distance matrix."""
    distances = torch.cdist(rows.double(), rows.double())
    to_chosen = distances[:, chosen]
    radius = to_chosen.min(1).values.max()
    found = []
    for image in range(IMAGES):
        centers = chosen[images[chosen] != image].tolist()
        lost = [
            i for i in range(len(rows)) if images[i] != image
            and images[chosen[to_chosen[i].argmin()]] == image
        ]
        while lost:
            nearest = distances[lost][:, centers].min(1).values
            if nearest.max() <= radius:
                break
            centers.append(lost[int(nearest.argmax())])
            found.append((centers[-1], image))
    return found


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('size', [10, 30])
def test_greedy_choice_by_brute_force(seed, size):
    rows, images = draw(seed)
    chosen = k_center_greedy(rows, size)
    expected = brute_force(rows, images, chosen)
    assert 0 < len(expected) <= 2 * size
    assert list(
        zip(*map(torch.Tensor.tolist, fill(rows, images, chosen)))) == expected


@pytest.mark.parametrize('seed', range(4))
def test_others_stay_within_the_radius(seed):
    rows, images = draw(seed)
    chosen = k_center_greedy(rows, 12)
    picks, stood_for = fill(rows, images, chosen)
    radius = torch.cdist(rows, rows[chosen]).min(1).values.max()
    for image in range(IMAGES):
        others = rows[images != image]
        left = rows[chosen[images[chosen] != image]]
        before = torch.cdist(others, left).min(1).values.max()
        filled = torch.cat([left, rows[picks[stood_for == image]]])
        assert torch.cdist(others,
                           filled).min(1).values.max() <= radius * (1 + 1e-5)
        assert (before > radius) == (stood_for == image).any()


def test_at_most_twice_as_many_as_centers():
    # One center is alone among rows that are farther from each other.
    rows = torch.cat([torch.zeros(1, 20), 10 * torch.eye(20)])
    rows = torch.cat([rows, torch.full((1, 20), 100.)])
    images = torch.tensor([0] + [1] * 20 + [2])
    picks, stood_for = fill(rows, images, torch.tensor([0, 21]))
    assert len(picks.unique()) == 4
    assert stood_for.eq(0).all()


def test_nothing_to_fill():
    rows, images = draw(0)
    picks, stood_for = fill(rows, images, torch.arange(len(rows)))
    assert len(picks) == len(stood_for) == 0


def _shard(rank, rows, images, chosen):
    own = images % world_size() == rank
    return torch.stack(fill(rows, images, chosen, own))


@pytest.mark.parametrize('world', [2, 3, 4])
def test_processes_choose_together(run_processes, world):
    rows, images = draw(1)
    chosen = k_center_greedy(rows, 12)
    alone = torch.stack(fill(rows, images, chosen))
    assert alone.shape[1]
    for found in run_processes(world, _shard, rows, images, chosen):
        assert torch.equal(found, alone)


def _go_on(rank, rows, images, chosen):
    """The picks, those from each state, and how many images that searched."""
    coreset_filling._NOTED = 1
    search, number = _CenterSearch.nearest, [0]

    def count(self, rows):
        number[0] += 1
        return search(self, rows)

    _CenterSearch.nearest = count
    own = images % world_size() == rank
    notes: list[dict] = []
    found = [
        fill(
            rows, images, chosen, own, note=lambda tell: notes.append(tell()))
    ]
    numbers = []
    for state in notes:
        number[0] = 0
        found.append(fill(rows, images, chosen, own, state=state))
        numbers.append(number[0])
    _CenterSearch.nearest = search
    return [torch.stack(one) for one in found], numbers


@pytest.mark.parametrize('world', [1, 2, 4])
def test_goes_on_from_a_state(run_processes, world, monkeypatch):
    monkeypatch.setattr(coreset_filling, '_NOTED', 8)  # as it was, behind it
    rows, images = draw(1)
    chosen = k_center_greedy(rows, 12)
    alone = torch.stack(fill(rows, images, chosen))
    ends = ([_go_on(0, rows, images, chosen)] if world == 1 else run_processes(
        world, _go_on, rows, images, chosen))
    for rank, (found, numbers) in enumerate(ends):
        assert all(torch.equal(one, alone) for one in found)
        # The third and fourth of four have one image less than the others.
        own = len(range(rank, IMAGES, world))
        least = IMAGES // world
        assert numbers == [own - done for done in range(1, least + 1)]


@pytest.mark.parametrize('num_owners', [1, 2, 30])
def test_search_of_centers_elsewhere_finds_the_same(num_owners):
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(100, 80, generator=generator)
    rows = torch.randn(40, 80, generator=generator)
    owners = torch.randint(num_owners, (100, ), generator=generator)
    search = _CenterSearch(centers, owners)
    distance, owner, to_others = search.nearest(rows)
    everything = torch.cdist(rows.double(), centers.double())
    same = owners == owner[:, None]
    torch.testing.assert_close(distance.double(), everything.amin(1))
    torch.testing.assert_close(to_others.double(),
                               everything.masked_fill(same, torch.inf).amin(1))
    # As where the centers are not on the CPU.
    search.sketched = None
    for found, expected in zip(
            search.nearest(rows), (distance, owner, to_others)):
        assert torch.equal(found, expected)


def test_progress_bar(capsys):
    rows, images = draw(0)
    chosen = k_center_greedy(rows, 12)
    fill(rows, images, chosen)
    assert not capsys.readouterr().out
    fill_coreset(
        rows,
        torch.arange(len(rows)),
        images,
        rows[chosen],
        images[chosen],
        progress=True)
    assert 'Filling the coreset' in capsys.readouterr().out
