import math
import re

import pytest
import torch
import torch.nn.functional as F
from budgets import budget_for
from scipy.ndimage import gaussian_filter
from tiny_models import TinyBackbone, feed, fit_shard

from mmad.errors import InputError
from mmad.models import PatchCore
from mmad.structures import AnomalyDataSample

PER_IMAGE = 8 * 10


def patches(detector, images, batch_size=2):
    """All patches ``(N * 80, D)``, from batches as in fitting."""
    found = [
        detector.extract(torch.cat([part, part[:1]])[:batch_size])[:len(part)]
        for part in images.split(batch_size)
    ]
    return torch.cat(found).flatten(2).transpose(1, 2).flatten(0, 1)


@pytest.fixture
def queries():
    generator = torch.Generator().manual_seed(9)
    return 1.5 * torch.randn(5, 3, 32, 40, generator=generator)


def test_ratio_one_keeps_everything(images, make_patchcore, fit):
    detector = fit(make_patchcore(coreset_ratio=1, sigma=0), images)
    rows = patches(detector, images)
    assert torch.equal(detector.memory_bank.rows, rows)
    scores, maps = detector(images)
    torch.testing.assert_close(maps, torch.zeros_like(maps), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        scores, torch.zeros_like(scores), rtol=0, atol=1e-5)


@pytest.mark.parametrize('kwargs', [
    dict(projection_dim=None),
    dict(projection_dim=4),
    dict(selection='random')
])
def test_bank_holds_training_patches_bit_by_bit(images, make_patchcore, fit,
                                                kwargs):
    detector = fit(make_patchcore(coreset_ratio=0.1, **kwargs), images)
    bank = detector.memory_bank.rows
    assert len(bank) == 56
    rows = {tuple(row) for row in patches(detector, images).tolist()}
    bank = {tuple(row) for row in bank.tolist()}
    assert bank <= rows
    assert len(bank) == 56


@pytest.mark.parametrize('selection', ['greedy', 'random'])
def test_distance_to_the_coreset_is_bounded(images, make_patchcore, fit,
                                            queries, selection):
    # Triangle inequality: d(q, M) <= d(q, M_C) <= d(q, M) + radius.
    detector = fit(
        make_patchcore(
            coreset_ratio=0.1, projection_dim=None, selection=selection),
        images)
    rows = patches(detector, images).double()
    bank = detector.memory_bank.rows.double()
    radius = torch.cdist(rows, bank).min(1).values.max()
    sought = patches(detector, queries)
    full = torch.cdist(sought.double(), rows).min(1).values
    found = detector.memory_bank(sought)[0][:, 0].double()
    assert (full <= found * (1 + 1e-6)).all()
    assert (found <= (full + radius) * (1 + 1e-6)).all()
    assert (found > full * (1 + 1e-3)).any()


def test_first_patch_and_order(images, make_patchcore, fit):
    detector = fit(
        make_patchcore(
            coreset_ratio=0.05, projection_dim=None, first_patch=123), images)
    rows = patches(detector, images)
    assert torch.equal(detector.memory_bank.rows[0], rows[123])
    farthest = torch.cdist(rows.double(), rows[123:124].double()).argmax()
    assert torch.equal(detector.memory_bank.rows[1], rows[farthest])


def test_one_neighbor_gives_the_maximum(images, make_patchcore, fit, queries):
    detector = fit(make_patchcore(num_neighbors=1), images)
    distances = torch.cdist(
        patches(detector, queries, 5).double(),
        detector.memory_bank.rows.double()).min(1).values
    torch.testing.assert_close(
        detector(queries)[0].double(),
        distances.view(5, -1).amax(1),
        rtol=1e-5,
        atol=0)


@pytest.mark.parametrize('b', [2, 3, 9])
def test_score_is_equation_7(images, make_patchcore, fit, queries, b):
    detector = fit(make_patchcore(num_neighbors=b), images)
    bank = detector.memory_bank.rows.double()
    scores = detector(queries)[0].double()
    for image, score in zip(
            patches(detector, queries, 5).split(PER_IMAGE), scores):
        distances = torch.cdist(image.double(), bank)
        worst = distances.min(1).values.argmax()
        best = distances[worst].argmin()
        around = torch.cdist(bank[best:best + 1], bank)[0].argsort()[:b]
        assert best in around
        largest = distances[worst, best]
        weight = 1 - largest.exp() / distances[worst, around].exp().sum()
        assert 1 - 1 / b <= weight < 1
        torch.testing.assert_close(score, weight * largest, rtol=1e-5, atol=0)


def test_no_overflow(images, make_patchcore, fit, queries):
    detector = fit(make_patchcore(num_neighbors=3), images)
    detector.memory_bank.store(detector.memory_bank.rows * 1e3)
    largest = torch.cdist(
        patches(detector, queries * 1e3, 5),
        detector.memory_bank.rows).min(1).values.view(5, -1).amax(1)
    assert (largest > 500).all()
    scores, maps = detector(queries * 1e3)
    assert torch.isfinite(maps).all()
    assert (scores >= largest * (1 - 1 / 3) * (1 - 1e-5)).all()
    assert (scores <= largest * (1 + 1e-5)).all()


def test_maps(images, make_patchcore, fit, queries):
    detector = fit(make_patchcore(sigma=2.5), images)
    _, maps = detector(queries)
    assert maps.shape == (5, 1, 32, 40)
    distances = torch.cdist(
        patches(detector, queries, 5).double(),
        detector.memory_bank.rows.double()).min(1).values
    expected = gaussian_filter(
        F.interpolate(distances.view(5, 1, 8, 10), (32, 40),
                      mode='bilinear').numpy(), (0, 0, 2.5, 2.5))
    torch.testing.assert_close(
        maps.double(), torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_a_defect_is_hot_where_it_is(images, make_patchcore, fit):
    detector = fit(make_patchcore(sigma=1), images)
    spoilt = images.clone()
    spoilt[:, :, 12:20, 20:30] += 8
    good, bad = detector(images), detector(spoilt)
    assert bad[0].min() > good[0].max()
    hottest = bad[1].flatten(1).argmax(1)
    assert ((hottest // 40 >= 10) & (hottest // 40 < 22)).all()
    assert ((hottest % 40 >= 18) & (hottest % 40 < 32)).all()


def test_batch_size_does_not_change_the_choice(images, make_patchcore, fit):
    banks = [
        fit(make_patchcore(coreset_ratio=0.2), images, size).memory_bank.rows
        for size in (1, 3, 5)
    ]
    for bank in banks[1:]:
        torch.testing.assert_close(bank, banks[0], rtol=1e-5, atol=1e-6)


def test_company_in_the_last_batch_does_not_matter(images, make_patchcore,
                                                   fit):
    detector = fit(make_patchcore(coreset_ratio=1), images, 5)
    fewer = fit(make_patchcore(coreset_ratio=1), images[:6], 5)
    assert torch.equal(detector.memory_bank.rows[:6 * PER_IMAGE],
                       fewer.memory_bank.rows)


@pytest.mark.parametrize('kept', [7, 100, 301])
def test_memory_budget(images, make_patchcore, fit, kept):
    detector = fit(
        make_patchcore(
            coreset_ratio=1,
            memory_budget=budget_for(kept, 16),
            num_neighbors=1), images)
    bank = detector.memory_bank
    assert len(bank) == bank.num_held == kept
    assert bank.num_patches == 560
    # No patch twice, and some of each image.
    place = {
        tuple(row): i
        for i, row in enumerate(patches(detector, images).tolist())
    }
    places = torch.tensor([place[tuple(row)] for row in bank.rows.tolist()])
    assert len(places.unique()) == kept
    assert (places // PER_IMAGE).bincount(minlength=7).min() > 0


def test_what_the_log_says_of_the_bank(images, make_patchcore, fit,
                                       monkeypatch):
    texts = []
    monkeypatch.setattr('mmad.models.detectors.patchcore.print_log',
                        lambda text, _: texts.append(text))
    fit(make_patchcore(coreset_ratio=0.2), images)
    assert texts[-1].endswith('112 of 560 patches in 16 dimensions')
    budget = budget_for(100, 16)
    detector = fit(
        make_patchcore(coreset_ratio=0.2, memory_budget=budget), images)
    radius, factor = detector.memory_bank.covering
    assert texts[-1].endswith(
        'Memory bank: 20 of 100 patches in 16 dimensions, thinned out from '
        f'560; every patch is within {radius:.4g} of the bank, at most '
        f'{factor:.2f} times the least possible')
    fit(make_patchcore(coreset_ratio=1, memory_budget=budget), images)
    assert re.search(r'every patch is within [\d.]+ of the bank$', texts[-1])


def _fit_shard(rank, detector, images):
    return fit_shard(detector, images).state_dict()


@pytest.mark.parametrize(
    ('world', 'number', 'kwargs'),
    [
        (2, 7, dict(coreset_ratio=0.2)),
        (3, 7, dict(coreset_ratio=0.3, memory_budget=budget_for(200, 16))),
        (3, 7,
         dict(
             coreset_ratio=0.3,
             selection='random',
             memory_budget=budget_for(500, 16))),
        (2, 7, dict(patch_features=dict(embedding='official', dim=8))),
        (3, 7, dict(coreset_ratio=1, memory_budget=budget_for(100, 16))),
        (4, 7, dict(coreset_ratio=0.2)),
        (4, 7, dict(coreset_ratio=0.3, projection_dim=None)),
        (4, 7, dict(coreset_ratio=0.3, memory_budget=budget_for(60, 16))),
        # Some of the processes keep nothing.
        (4, 7,
         dict(
             coreset_ratio=1,
             selection='random',
             memory_budget=budget_for(7, 16),
             num_neighbors=1)),
        (2, 7,
         dict(
             coreset_ratio=0.3,
             held_dtype='float16',
             memory_budget=budget_for(200, 16))),
    ])
def test_processes_fit_as_one(run_processes, images, make_patchcore, fit,
                              world, number, kwargs):
    alone = fit(make_patchcore(**kwargs), images[:number]).state_dict()
    states = run_processes(world, _fit_shard, make_patchcore(**kwargs),
                           images[:number])
    for state in states:
        assert state.keys() == alone.keys()
        for name, value in alone.items():
            assert torch.equal(state[name], value), name


def _begin(rank, detector):
    try:
        detector.begin_fit(2, 2)
    except InputError as error:
        return str(error)


def test_more_processes_than_images(run_processes, make_patchcore):
    for message in run_processes(3, _begin, make_patchcore()):
        assert 'there are 3 processes for 2 training images' in message


@pytest.mark.parametrize('kwargs', [
    dict(),
    dict(memory_bank=dict(backend='faiss')),
    dict(memory_bank=dict(backend='faiss', index='HNSW32')),
    dict(selection='random'),
    dict(num_neighbors=1, num_patch_neighbors=4),
    dict(patch_features=dict(embedding='official', dim=9)),
])
def test_round_trip(tmp_path, images, make_patchcore, fit, queries, kwargs):
    detector = fit(make_patchcore(**kwargs), images)
    torch.save(detector.state_dict(), tmp_path / 'state.pth')
    other = make_patchcore(
        backbone=dict(type='TinyBackbone', seed=3), **kwargs)
    other.load_state_dict(
        torch.load(tmp_path / 'state.pth', weights_only=True), strict=True)
    for mine, theirs in zip(detector(queries), other.eval()(queries)):
        assert torch.equal(mine, theirs)


def test_modes(images, make_patchcore, fit, queries):
    detector = fit(make_patchcore(), images)
    scores, maps = detector(queries, mode='tensor')
    assert scores.shape == (5, )
    for sample, score, anomaly_map in zip(
            detector(queries, mode='predict'), scores, maps):
        assert torch.equal(sample.pred_score, score)
        assert torch.equal(sample.pred_map, anomaly_map[0])
    detector.begin_fit(5, 5)
    samples = [
        AnomalyDataSample(metainfo=dict(sample_idx=i)) for i in range(5)
    ]
    assert detector(queries, samples, mode='loss') == {}


def test_scoring_changes_nothing(images, make_patchcore, fit, queries):
    detector = fit(make_patchcore(), images)
    before = {k: v.clone() for k, v in detector.state_dict().items()}
    first, second = detector(queries), detector(queries)
    assert torch.equal(first[1], second[1])
    for name, value in detector.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(coreset_ratio=0), 'above 0 and at most 1, got 0'),
    (dict(coreset_ratio=1.5), 'got 1.5'),
    (dict(coreset_ratio=math.nan), 'got nan'),
    (dict(num_neighbors=0), '`num_neighbors` must be .* at least 1, got 0'),
    (dict(num_neighbors=1, num_patch_neighbors=0),
     '`num_patch_neighbors` must be .* at least 1, got 0'),
    (dict(selection='first'), '"greedy" or "random", got "first"'),
    (dict(memory_budget=0), '`memory_budget` must be .* at least 1, got 0'),
    (dict(held_dtype='int8'), '"float32" or "float16", got "int8"'),
    (dict(held_dir=3), '`held_dir` must be .* a folder or None, got 3'),
])
def test_wrong_arguments(make_patchcore, kwargs, message):
    with pytest.raises(InputError, match=message):
        make_patchcore(**kwargs)


@pytest.mark.parametrize('kwargs', [
    dict(coreset_ratio=0.2),
    dict(coreset_ratio=0.2, projection_dim=None),
    dict(coreset_ratio=1),
    dict(selection='random'),
    dict(held_dtype='float16'),
])
@pytest.mark.parametrize('world', [1, 3])
def test_patches_in_a_file_change_nothing(run_processes, images,
                                          make_patchcore, fit, tmp_path, world,
                                          kwargs):
    expected = fit(make_patchcore(**kwargs), images[:7]).state_dict()
    in_file = make_patchcore(held_dir=tmp_path / 'held', **kwargs)
    states = ([fit(in_file, images[:7]).state_dict()] if world == 1 else
              run_processes(world, _fit_shard, in_file, images[:7]))
    for state in states:
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(state[name], value), name
    assert not list((tmp_path / 'held').iterdir())


def test_coreset_too_small(images, make_patchcore, fit):
    detector = make_patchcore(coreset_ratio=0.015, num_neighbors=9)
    with pytest.raises(InputError, match='of 560 patches selects 8, fewer'):
        fit(detector, images)
    assert not detector.is_fitted


def test_first_patch_out_of_range(images, make_patchcore, fit):
    with pytest.raises(InputError, match='`first_patch` 560 is not one of'):
        fit(make_patchcore(first_patch=560), images)


def test_non_finite_features(images, make_patchcore):
    images[4, 0, 0, 0] = math.nan
    detector = make_patchcore()
    detector.begin_fit(7, 2)
    with pytest.raises(InputError, match=r'"image_4\.png" has non-finite'):
        feed(detector, images, 2)


def test_unfitted(images, make_patchcore):
    with pytest.raises(InputError, match='PatchCore is not fitted'):
        make_patchcore()(images)


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(backbone=TinyBackbone(['layer3'])),
     r"stages \['layer2', 'layer3'\] instead of \['layer3'\]"),
    (dict(patch_features=dict(patch_size=1)), 'patch_size 3 instead of 1'),
    (dict(patch_features=dict(embedding='official', dim=8)),
     "embedding 'concat' instead of 'official'"),
    (dict(patch_features=dict(stage_dim=9)), 'stage_dim None instead of 9'),
])
def test_checkpoint_of_another_config(images, make_patchcore, fit, kwargs,
                                      message):
    state = fit(make_patchcore(), images).state_dict()
    with pytest.raises(InputError, match=message):
        make_patchcore(**kwargs).load_state_dict(state, strict=False)


def test_checkpoint_of_another_detector(images, make_patchcore, fit):

    class Other(PatchCore):

        def fingerprint(self):
            return dict(super().fingerprint(), detector='Other')

    state = fit(make_patchcore(), images).state_dict()
    other = Other(dict(type='TinyBackbone'))
    with pytest.raises(InputError, match="'PatchCore' instead of 'Other'"):
        other.load_state_dict(state)


def test_checkpoint_without_a_fit(make_patchcore):
    with pytest.raises(InputError, match='no fitted state'):
        make_patchcore().load_state_dict(make_patchcore().state_dict())
