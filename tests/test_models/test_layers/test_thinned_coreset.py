"""A bank of more patches than the memory budget allows to hold."""
import math

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


def projected(bank, features):
    images = torch.arange(len(features)).repeat_interleave(PER_IMAGE)
    return bank._space.project(patches(features), images).double()


def radius_of(bank, features):
    rows = projected(bank, features)
    image, position = bank.sources.T
    chosen = rows[image * PER_IMAGE + position]
    return float(torch.cdist(rows, chosen).amin(1).max())


def make(kind, seed):
    if kind == 'clusters':
        return draw_clusters(seed, 20)
    features = draw(20, seed)
    if kind == 'ties':
        return (2 * features).round()
    if kind == 'odd image':
        features[3] *= 10
    return features


@pytest.mark.parametrize('kind', ['noise', 'clusters', 'ties', 'odd image'])
@pytest.mark.parametrize('dim', [3, 128, None])
@pytest.mark.parametrize('kept', [22, 60, 150, 200])
def test_radius_within_the_stated_factor(kind, dim, kept):
    for seed in range(3):
        features = make(kind, seed)
        for ratio in (0.1, 0.5):
            bank = fit(
                features,
                coreset_ratio=ratio,
                projection_dim=dim,
                memory_budget=budget_for(kept, 5, dim or 5))
            exact = fit(
                features,
                projection_dim=dim,
                coreset_ratio=(len(bank) + 0.5) / 240)
            assert len(exact) == len(bank) == int(ratio * bank.num_held)
            found = radius_of(bank, features)
            if bank.covering is None:
                # Nothing was left out but copies.
                assert kind == 'ties'
                assert not bank.thinned_out
                continue
            radius, factor = bank.covering
            assert found <= radius * (1 + 1e-5)
            # Of the best rows, which those of the exact choice are not
            # better than.
            best = radius_of(exact, features)
            assert radius <= factor * best * (1 + 1e-5)
            assert factor >= 2


def test_what_is_left_out_is_covered_within_its_image():
    features = draw(20)
    bank = fit(features, coreset_ratio=1, memory_budget=budget_for(60, 5))
    radius, factor = bank.covering
    rows = projected(bank, features).view(20, PER_IMAGE, -1)
    farthest = 0
    for image, own in enumerate(rows):
        kept = bank.sources[bank.sources[:, 0] == image, 1]
        assert 1 <= len(kept) <= 4 * 60 / 20
        farthest = max(farthest,
                       float(torch.cdist(own, own[kept]).amin(1).max()))
    assert farthest == pytest.approx(radius, rel=1e-5)
    assert factor == math.inf


def test_nothing_changes_where_all_fit():
    features = draw(20)
    exact = fit(features, coreset_ratio=0.2)
    budget = 240 * (20 + 512 + 100)
    bank = fit(features, coreset_ratio=0.2, memory_budget=budget)
    assert torch.equal(state_of(bank), state_of(exact))
    assert bank.covering is None
    assert not bank.thinned_out
    bank = fit(features, coreset_ratio=0.2, memory_budget=budget - 1)
    assert bank.num_held == 239 * 7 // 8


KINDS = [
    dict(coreset_ratio=0.2),
    dict(coreset_ratio=0.2, projection_dim=None),
    dict(coreset_ratio=0.2, held_dtype='float16'),
    dict(coreset_ratio=0.5, selection='random'),
    dict(coreset_ratio=1),
]


def state(bank):
    covering = torch.tensor(bank.covering or (0, 0), dtype=torch.float64)
    return torch.cat([state_of(bank).flatten().double(), covering])


@pytest.mark.parametrize('kwargs', KINDS)
def test_order_does_not_matter(kwargs):
    features = draw_clusters(0, 20)
    kwargs = dict(kwargs, memory_budget=budget_for(60, 5))
    expected = state(fit(features, **kwargs))
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(20, generator=generator).tolist()
        assert torch.equal(state(fit(features, order, **kwargs)), expected)


def _fit_share(rank, features, order, kwargs):
    own = order[rank::dist.get_world_size()]
    return state(fit(features, own, **kwargs))


@pytest.mark.parametrize('kwargs', KINDS)
@pytest.mark.parametrize('world', [2, 3, 4])
def test_processes_choose_as_one(run_processes, world, kwargs):
    features = draw_clusters(1, 20)
    # One process has the images that differ most.
    features[1::world] *= 5
    kwargs = dict(kwargs, memory_budget=budget_for(60, 5))
    expected = state(fit(features, **kwargs))
    order = list(range(20, 0, -1)) if world == 3 else list(range(1, 21))
    order = [number - 1 for number in order]
    for found in run_processes(world, _fit_share, features, order, kwargs):
        assert torch.equal(found, expected)


def test_half_precision_rounds_the_rows():
    features = draw()
    exact = fit(features, coreset_ratio=1)
    half = fit(features, coreset_ratio=1, held_dtype='float16')
    assert half.rows.dtype == torch.float32
    assert torch.equal(half.rows, exact.rows.half().float())
    # In the same budget, more are held.
    numbers = [
        fit(features,
            coreset_ratio=1,
            projection_dim=1,
            memory_budget=5000,
            held_dtype=dtype).num_held for dtype in ('float32', 'float16')
    ]
    assert numbers == [35, 37]


def test_random_choice_is_even():
    features = draw(20)
    counts = torch.zeros(240)
    for seed in range(100):
        bank = fit(
            features,
            seed=seed,
            coreset_ratio=0.5,
            selection='random',
            memory_budget=budget_for(60, 5))
        assert (bank.num_held, len(bank)) == (60, 30)
        assert bank.thinned_out
        assert bank.covering is None
        image, position = bank.sources.T
        counts[image * PER_IMAGE + position] += 1
    # Binomial, up to five standard deviations.
    assert ((counts - 12.5).abs() < 5 * (100 / 8 * 7 / 8)**0.5).all()


def test_left_out_is_close_to_a_fit_without_the_image():
    ratios = []
    for seed in range(4):
        features = draw_clusters(seed)
        kwargs = dict(coreset_ratio=0.5, memory_budget=budget_for(60, 5))
        bank = fit(features, **kwargs)
        assert bank.thinned_out
        filled = score_left_out(bank, features)
        bank.end_calibration()
        ignored = score_left_out(bank, features)
        refits = []
        for image in range(len(features)):
            rest = [i for i in range(len(features)) if i != image]
            other = fit(features[rest], **kwargs)
            refits.append(other(patches(features[image:image + 1]))[0].max())
        ratios.append(torch.stack([filled, ignored]) / torch.stack(refits))
    filled, ignored = torch.cat(ratios, 1).mean(1) - 1
    assert abs(filled) < 0.7 * ignored


def test_added_images_have_the_budget_to_themselves():
    features = draw(20)
    kwargs = dict(coreset_ratio=1, memory_budget=budget_for(60, 5))
    bank = fit(features[:12], **kwargs)
    bank.num_images = 19
    bank.reopen()
    bank.forget([3])
    bank.update(features[12:], list(range(11, 19)))
    bank.finalize()
    own = fit(features[12:], **kwargs)
    # But for some, as the number that was held of the image is an estimate.
    new = bank.sources[:, 0] >= 11
    assert 50 < new.sum() <= 60
    known = {tuple(source) for source in own.sources.tolist()}
    for image, position in bank.sources[new].tolist():
        assert (image - 11, position) in known
    assert bank.covering is None


def test_a_budget_below_the_number_of_images():
    with pytest.raises(
            InputError,
            match='16 patches of 5 values, fewer than the 20 images; raise'):
        fit(draw(20), memory_budget=12008)
