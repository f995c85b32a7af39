"""A bank of patches that are drawn at random."""
import pytest
import torch
import torch.distributed as dist
from bank_parts import (
    PER_IMAGE,
    draw,
    draw_clusters,
    fit,
    patches,
    score_left_out,
    state_of,
)
from budgets import budget_for

from mmad.errors import InputError
from mmad.models.layers import CoresetBank


def random_bank(features, *args, seed=0, **kwargs):
    return fit(
        features,
        *args,
        coreset_ratio=0.3,
        selection='random',
        seed=seed,
        **kwargs)


def numbers_of(bank):
    image, position = bank.sources.T
    return image * PER_IMAGE + position


def test_random_choice():
    features = draw(50)
    counts = torch.zeros(50 * PER_IMAGE)
    for seed in range(30):
        bank = random_bank(features, seed=seed)
        numbers = numbers_of(bank)
        assert len(bank) == len(numbers.unique()) == int(0.3 * 600)
        assert torch.equal(bank.rows, patches(features)[numbers])
        counts[numbers] += 1
    # Binomial, up to five standard deviations.
    assert ((counts - 9).abs() < 5 * (30 * 0.3 * 0.7)**0.5).all()
    by_image = counts.view(50, -1).sum(1)
    assert ((by_image - 108).abs() < 5 * (12 * 30 * 0.3 * 0.7)**0.5).all()
    other = random_bank(features, torch.arange(50).flip(0).tolist(), seed=29)
    assert torch.equal(other.rows, bank.rows)


def test_random_choice_from_what_is_held():
    features = draw()
    inside = torch.ones(7, 1, 6, 8, dtype=torch.bool)
    inside[:, :, :2] = False  # the first row of patches
    bank = random_bank(
        features, inside=inside, memory_budget=budget_for(50, 5))
    assert bank.num_held == 50
    assert len(bank) == int(0.3 * bank.num_held)
    assert (bank.sources[:, 1] >= 4).all()


def test_random_choice_without_an_image():
    features = draw_clusters(0)
    bank = random_bank(features)
    assert not len(bank.fill_rows)
    found = score_left_out(bank, features)
    for image, score in enumerate(found):
        others = bank.rows[bank.sources[:, 0] != image]
        own = patches(features[image:image + 1])
        torch.testing.assert_close(
            score.double(),
            torch.cdist(own.double(), others.double()).amin(1).max())


def test_random_choice_without_an_image_is_a_fit_without_it():
    # On average: there are as many rows, of the same patches.
    found, refitted = 0, 0
    for features in map(draw_clusters, range(4)):
        for image in range(12):
            bank = random_bank(features, seed=image)
            bank.left_out = range(12)
            found += float(bank(patches(features))[0].mean()) / 48
            rest = torch.cat([features[:image], features[image + 1:]])
            for seed in range(100, 108):
                distances = random_bank(
                    rest, seed=seed)(patches(features[image:image + 1]))[0]
                refitted += float(distances.mean()) / 384
    assert found == pytest.approx(refitted, rel=0.03)


def extend(bank, features, ids, forgotten=()):
    bank.num_images = max(ids) + 1
    bank.reopen()
    if forgotten:
        bank.forget(list(forgotten))
    for i in ids:
        bank.update(features[i:i + 1], [i])
    bank.finalize()


def test_random_choice_of_added_images():
    features = draw()
    bank = random_bank(features[:4])
    first = numbers_of(bank)
    for image in range(4, 7):
        extend(bank, features, [image])
        assert len(bank) == int(0.3 * (image + 1) * PER_IMAGE)
    numbers = numbers_of(bank)
    assert torch.equal(numbers[:len(first)], first)
    assert torch.equal(bank.rows, patches(features)[numbers])
    # Not the same positions of each image.
    position = bank.sources[len(first):, 1]
    assert len(position.unique()) > 4


def test_random_choice_after_images_are_forgotten():
    features = draw()
    bank = random_bank(features)
    before = bank.sources
    extend(bank, features, [5, 6], forgotten=[0, 3])
    kept = before[(before[:, 0] != 0) & (before[:, 0] != 3)]
    assert len(bank) == max(len(kept), int(0.3 * 7 * PER_IMAGE))
    assert torch.equal(bank.sources[:len(kept), 1], kept[:, 1])
    assert (bank.sources[len(kept):, 0] >= 5).all()


def test_random_choice_in_a_checkpoint():
    features = draw()
    bank = random_bank(features[:6])
    other = CoresetBank(0.3, selection='random')
    other.load_state_dict(bank.state_dict())
    for one in (bank, other):
        extend(one, features, [6])
    assert torch.equal(bank.rows, other.rows)
    assert len(bank) == int(0.3 * 7 * PER_IMAGE)


def test_unknown_selection():
    with pytest.raises(InputError, match='"greedy" or "random", got "kmeans"'):
        CoresetBank(selection='kmeans')


def _shard(rank, features):
    order = range(rank, len(features), dist.get_world_size())
    return state_of(
        random_bank(features, order, memory_budget=budget_for(70, 5)))


@pytest.mark.parametrize('world', [2, 3])
def test_random_choice_of_processes(run_processes, world):
    features = draw()
    alone = state_of(random_bank(features, memory_budget=budget_for(70, 5)))
    assert len(alone) == 21
    for found in run_processes(world, _shard, features):
        assert torch.equal(found, alone)
