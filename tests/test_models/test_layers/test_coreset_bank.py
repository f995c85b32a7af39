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
from mmad.models.layers import CoresetBank, coreset_bank, held_patches


def test_all_patches_in_the_order_of_the_images():
    features = draw()
    bank = fit(features, order=[4, 0, 6, 1, 5, 2, 3], coreset_ratio=1)
    assert torch.equal(bank.rows, patches(features))


def test_greedy_choice_by_brute_force():
    features = draw()
    rows = patches(features).double()
    bank = fit(
        features, coreset_ratio=0.25, projection_dim=None, first_patch=5)
    chosen = [5]
    while len(chosen) < len(rows) // 4:
        nearest = torch.cdist(rows, rows[chosen]).min(1).values
        chosen.append(int(nearest.argmax()))
    assert torch.equal(bank.rows, patches(features)[chosen])


@pytest.mark.parametrize('kept', [7, 20, 50])
def test_what_is_held_is_bounded(kept):
    bank = fit(draw(), coreset_ratio=1, memory_budget=budget_for(kept, 5))
    assert bank.num_held == len(bank) == kept
    assert bank.num_patches == 7 * PER_IMAGE


def test_patches_of_the_border_are_left_out():
    features = draw()
    inside = torch.ones(7, 1, 6, 8, dtype=torch.bool)
    inside[:, :, :2] = False  # the first row of patches
    bank = fit(features, inside=inside, coreset_ratio=1)
    assert torch.equal(bank.rows, patches(features[:, :, 1:]))


def test_a_coreset_that_is_too_small():
    with pytest.raises(InputError, match='fewer than the 9'):
        fit(draw(), coreset_ratio=0.1, num_neighbors=9)


@pytest.mark.parametrize('kwargs', [
    dict(coreset_ratio=1),
    dict(coreset_ratio=0.3),
    dict(coreset_ratio=0.5, memory_budget=budget_for(30, 5))
])
def test_sources_of_the_rows(kwargs):
    features = draw()
    bank = fit(features, order=[4, 0, 6, 1, 5, 2, 3], **kwargs)
    image, position = bank.sources.T
    assert torch.equal(bank.rows, features.flatten(2)[image, :, position])


@pytest.mark.parametrize('backend', ['torch', 'faiss'])
def test_left_out_is_a_fit_without_the_image(backend):
    features = draw()
    inside = torch.ones(7, 1, 6, 8, dtype=torch.bool)
    inside[3, :, :4] = False  # two of its three rows of patches
    kwargs = dict(coreset_ratio=1, backend=backend)
    bank = fit(features, inside=inside, **kwargs)
    ids = [5, 3, 0]
    bank.left_out = ids
    found = bank(patches(features[ids]), 3)[0].split(PER_IMAGE)
    for image, distances in zip(ids, found):
        rest = [i for i in range(7) if i != image]
        expected = fit(
            features[rest], inside=inside[rest],
            **kwargs)(patches(features[image:image + 1]), 3)[0]
        assert torch.equal(distances, expected)


def test_too_few_rows_without_the_image():
    bank = fit(draw(2), coreset_ratio=1, num_neighbors=9)
    bank.left_out = [0]
    assert bank(patches(draw(1)), 12)[0].shape == (PER_IMAGE, 12)
    with pytest.raises(InputError, match='12 rows are left'):
        bank(patches(draw(1)), 13)


def test_sources_of_other_rows():
    state = fit(draw(), coreset_ratio=0.5).state_dict()
    state['sources'] = state['sources'][1:]
    with pytest.raises(InputError, match='where the 42 rows are from'):
        CoresetBank().load_state_dict(state)


def test_left_out_is_close_to_a_fit_without_the_image():
    ratios = []
    for seed in range(5):
        features = draw_clusters(seed)
        bank = fit(features, coreset_ratio=0.25)
        filled = score_left_out(bank, features)
        bank.end_calibration()
        ignored = score_left_out(bank, features)
        exact = score_left_out(fit(features, coreset_ratio=1), features)
        assert (exact <= filled * 1.00001).all()
        assert (filled <= ignored * 1.00001).all()
        refits = []
        for image in range(len(features)):
            rest = [i for i in range(len(features)) if i != image]
            other = fit(features[rest], coreset_ratio=0.25)
            refits.append(other(patches(features[image:image + 1]))[0].max())
        ratios.append(torch.stack([filled, ignored]) / torch.stack(refits))
    filled, ignored = torch.cat(ratios, 1).mean(1) - 1
    assert ignored > 0
    assert abs(filled) < 0.7 * ignored


def test_what_is_filled_in_goes_after_a_calibration():
    features = draw_clusters(0)
    bank = fit(features, coreset_ratio=0.25)
    other = CoresetBank(0.25)
    other.load_state_dict(bank.state_dict())
    assert torch.equal(
        score_left_out(other, features), score_left_out(bank, features))
    before = bank(patches(features))
    bank.end_calibration()
    for one, two in zip(bank(patches(features)), before):
        assert torch.equal(one, two)
    state = bank.state_dict()
    assert not state['fill_rows'].numel() + state['fill_images'].numel()


def test_added_images_are_filled_in():
    features = draw_clusters(0)
    bank = fit(features[:6], coreset_ratio=0.25)
    bank.num_images = 12
    bank.reopen()
    bank.update(features[6:], list(range(6, 12)))
    bank.finalize()
    filled = score_left_out(bank, features)
    assert len(bank.fill_rows)
    new = patches(features[6:])
    assert (bank.fill_rows[:, None] == new).all(2).any(1).all()
    bank.end_calibration()
    ignored = score_left_out(bank, features)
    assert (filled <= ignored * 1.00001).all()
    assert (filled < ignored).any()


def _shard(rank, features):
    order = range(rank, len(features), dist.get_world_size())
    return state_of(fit(features, order, coreset_ratio=0.3))


@pytest.mark.parametrize('world', [2, 3, 4])
def test_processes_choose_together(run_processes, world):
    features = draw()
    bank = fit(features, coreset_ratio=0.3)
    assert len(bank.fill_rows)
    for found in run_processes(world, _shard, features):
        assert torch.equal(found, state_of(bank))


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a GPU with CUDA')
@pytest.mark.parametrize('projection_dim', [None, 3])
def test_cuda_with_and_without_room(monkeypatch, projection_dim):
    features = draw().cuda()
    setting = dict(coreset_ratio=0.3, projection_dim=projection_dim)
    bank = fit(features, **setting)
    assert bank.rows.is_cuda
    for module in (coreset_bank, held_patches):
        monkeypatch.setattr(module, 'has_room', lambda *args: False)
    assert torch.equal(state_of(fit(features, **setting)), state_of(bank))
