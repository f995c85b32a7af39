"""Several detectors whose scores are combined."""
import numpy as np
import pytest
import torch
from fitted_parts import OwnDetector
from mmengine.runner import load_state_dict
from tiny_models import NORMALIZATION, feed, fit_shard

from mmad.errors import InputError
from mmad.models import Ensemble
from mmad.structures import AnomalyDataSample

SEEDS = 0, 1, 2


def patchcore(seed=0, **kwargs):
    return dict(
        dict(
            type='PatchCore',
            backbone=dict(type='TinyBackbone', seed=seed),
            coreset_ratio=0.4,
            num_neighbors=1,
            patch_features=dict(embedding='official', dim=8)), **kwargs)


PADIM = dict(
    type='PaDiM', backbone=dict(type='TinyBackbone'), dim=4, epsilon=0.1)
SPADE = dict(
    type='SPADE',
    backbone=dict(type='TinyBackbone'),
    image_stage='layer3',
    pyramid_stages=('layer2', 'layer3'),
    num_neighbors=3)
FYD = dict(
    type='FYD', backbone=dict(type='SteppedBackbone'), dim=4, epsilon=0.1)
# One pass, two, and one.
MIXED = [patchcore(), dict(PADIM, reduction='pca'), SPADE]
THREE = [patchcore(seed) for seed in SEEDS]


@torch.no_grad()
def left_out(detector, ensemble, images):
    """Of images left out of the fit: scores, means and spreads of maps."""
    ids = range(len(images))
    with ensemble.leaving_out(ids):
        samples = detector.predict(images)
    maps = torch.stack([sample.pred_map for sample in samples]).double()
    return (torch.stack([sample.pred_score for sample in samples]),
            maps.mean((1, 2)), maps.std((1, 2), correction=0))


def calibrated(ensemble, images):
    found = [left_out(member, ensemble, images) for member in ensemble.members]
    ensemble.learn_scales(*map(torch.stack, zip(*found)))
    return ensemble


def fitted(members, images):
    return calibrated(fit_shard(Ensemble(members), images).eval(), images)


@pytest.fixture
def others():
    return torch.randn(
        5, 3, 32, 40, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize(
    'members', [THREE, MIXED, [FYD, SPADE]], ids=['three', 'mixed', 'fyd'])
@torch.no_grad()
def test_members_are_fitted_and_combined_as_by_hand(images, others, members):
    ensemble = fitted(members, images)
    assert ensemble.num_passes == max(m.num_passes for m in ensemble.members)
    scores, maps = [], []
    for config in members:
        alone = fit_shard(Ensemble([config]).members[0], images).eval()
        with alone.leaving_out(range(7)):
            normal, normal_maps = map(torch.Tensor.numpy, alone(images))
        score, anomaly_map = map(torch.Tensor.numpy, alone(others))
        scores.append((score - normal.mean()) / normal.std(ddof=1))
        maps.append((anomaly_map - normal_maps.mean()) / normal_maps.std())
    found = ensemble(others)
    np.testing.assert_allclose(
        found[0], np.mean(scores, 0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        found[1], np.mean(maps, 0), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_order_of_the_members_is_irrelevant(images, others):
    found = fitted(MIXED, images)(others)
    # As MIXED, turned by one.
    expected = fitted([*MIXED[1:], MIXED[0]], images)(others)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_one_member_ranks_as_without_ensemble(images, others):
    ensemble = fitted([patchcore()], images)
    for one, alone in zip(ensemble(others), ensemble.members[0](others)):
        order = alone.flatten().argsort()
        assert (one.flatten()[order].diff() >= 0).all()
        assert (one.flatten()[order].unique().numel()
                > 0.9 * alone.unique().numel())


@torch.no_grad()
def test_scores_do_not_depend_on_the_images_beside(images, others):
    ensemble = fitted(MIXED, images)
    together = ensemble(others)
    alone = ensemble(others[3:4])
    for one, other in zip(together, alone):
        torch.testing.assert_close(one[3], other[0], rtol=1e-4, atol=1e-4)


def test_each_pass_extracts_features_once_per_member(images, monkeypatch):
    ensemble = Ensemble(MIXED)
    calls = []
    for number, member in enumerate(ensemble.members):
        monkeypatch.setattr(
            member.backbone,
            'forward',
            lambda inputs, number=number, forward=member.backbone.forward:
            (calls.append(number), forward(inputs))[1])
    ensemble.begin_fit(7, 7)
    feed(ensemble, images, 7)
    assert calls == [0, 1, 2]
    ensemble.end_pass()
    feed(ensemble, images, 7)
    # PaDiM alone has another pass.
    assert calls == [0, 1, 2, 1]
    assert ensemble.is_fitting
    ensemble.end_pass()
    assert not ensemble.is_fitting
    with pytest.raises(InputError, match='Ensemble was given images'):
        feed(ensemble, images, 7)


@torch.no_grad()
def test_state_is_saved_and_loaded(images, others):
    ensemble = fitted(MIXED, images)
    for load in (
            lambda model, state: model.load_state_dict(state),
            lambda model, state: load_state_dict(model, state, strict=True)):
        other = Ensemble(MIXED).eval()
        load(other, ensemble.state_dict())
        for one, two in zip(other(others), ensemble(others)):
            assert torch.equal(one, two)


@pytest.mark.parametrize(('members', 'message'), [
    ([*MIXED[:2], patchcore()], r'members\.2\.detector .SPADE. instead of'),
    (MIXED[:2], r'members\.2\.backbone .TinyBackbone. instead of None'),
    ([patchcore(patch_features=dict(embedding='official', dim=9)), *MIXED[1:]
      ], r'members\.0\.dim 8 instead of 9'),
])
def test_states_of_other_members_are_refused(images, members, message):
    state = fitted(MIXED, images).state_dict()
    with pytest.raises(InputError, match=message):
        Ensemble(members).load_state_dict(state)


@pytest.mark.parametrize('name', ['z_scores.stds', 'members.1.gaussians.mean'])
def test_parts_of_a_state_are_refused(images, name):
    state = fitted(MIXED, images).state_dict()
    del state[name]
    with pytest.raises(InputError, match=f'it lacks "{name}"'):
        Ensemble(MIXED).load_state_dict(state)


@torch.no_grad()
def test_nothing_is_predicted_without_scales(images, others):
    ensemble = Ensemble(THREE).eval()
    with pytest.raises(InputError, match='Ensemble is not fitted; fit it'):
        ensemble(others)
    fit_shard(ensemble, images)
    assert not ensemble.is_fitted
    assert all(member.is_fitted for member in ensemble.members)
    for mode in ('tensor', 'predict'):
        with pytest.raises(InputError, match='no common scale'):
            ensemble(others, mode=mode)
    calibrated(ensemble, images)
    assert ensemble.is_fitted
    assert ensemble(others)[0].isfinite().all()
    # Another fit begins anew.
    fit_shard(ensemble, images)
    assert not ensemble.is_fitted


def data_of(images, ids):
    return dict(
        inputs=images[ids],
        data_samples=[
            AnomalyDataSample(metainfo=dict(sample_idx=i)) for i in ids
        ])


@torch.no_grad()
def test_updates_reach_all_members_and_leave_the_scales(images, others):
    members = [patchcore(coreset_ratio=1), SPADE, dict(PADIM, epsilon=1)]
    ensemble = fitted(members, images[:5])
    scales = ensemble.z_scores.state_dict()
    ensemble.begin_update(2, 2, [1])
    assert ensemble.num_update_passes == 1
    ensemble.forget([1], data_of(images, [1]))
    feed(ensemble, images[5:], 2)
    ensemble.end_pass()
    assert ensemble.num_fitted == 6
    expected = fit_shard(Ensemble(members), images[[0, 2, 3, 4, 5, 6]]).eval()
    expected.z_scores.load_state_dict(scales)
    for one, other in zip(ensemble(others), expected(others)):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def fit_and_score(rank, images, others):
    ensemble = fit_shard(Ensemble(MIXED), images).eval()
    calibrated(ensemble, images)
    with torch.no_grad():
        return dict(ensemble.state_dict(), scores=ensemble(others)[0])


def test_two_processes_fit_the_same(images, others, run_processes):
    whole = fit_and_score(0, images, others)
    for found in run_processes(2, fit_and_score, images, others):
        for name, value in whole.items():
            assert torch.equal(found[name], value), name


def in_letterboxes(images, border):
    samples = [
        AnomalyDataSample(
            metainfo=dict(
                sample_idx=i,
                img_path=f'{i}.png',
                crop_offset=(-border, 0),
                resized_shape=(32 - 2 * border, 40)))
        for i in range(len(images))
    ]
    return dict(inputs=images, data_samples=samples)


@torch.no_grad()
def test_borders_are_left_out_by_all_or_refused(images):
    ensemble = Ensemble(THREE).eval()
    ensemble.begin_fit(7, 7)
    ensemble.fit_step(in_letterboxes(images, 8))
    ensemble.end_pass()
    with ensemble.leaving_out(range(7)):
        found = [
            member.predict(**in_letterboxes(images, 8))
            for member in ensemble.members
        ]
    ensemble.learn_scales(*(torch.stack([
        torch.stack([value(sample) for sample in samples]) for samples in found
    ]) for value in (lambda sample: sample.pred_score,
                     lambda sample: sample.pred_map[8:-8].mean(),
                     lambda sample: sample.pred_map[8:-8].std())))
    sample = ensemble.predict(**in_letterboxes(images[:1], 8))[0]
    assert sample.pred_map[:8].isnan().all()
    assert sample.pred_map[8:-8].isfinite().all()
    # What the border shows has no effect.
    changed = images[:1].clone()
    changed[:, :, :8] = 9
    other = ensemble.predict(**in_letterboxes(changed, 8))[0]
    assert sample.pred_score.equal(other.pred_score)

    mixed = Ensemble(MIXED)
    mixed.begin_fit(7, 7)
    with pytest.raises(InputError, match='border of a letterbox, which'):
        mixed.fit_step(in_letterboxes(images, 8))


def test_one_data_preprocessor_serves_all():
    ensemble = Ensemble(THREE, NORMALIZATION)
    for member in ensemble.members:
        assert member.data_preprocessor is ensemble.data_preprocessor
    with pytest.raises(InputError, match=r'member 1 .* set that of the'):
        Ensemble([patchcore(), patchcore(data_preprocessor=NORMALIZATION)])


@pytest.mark.parametrize(('members', 'message'), [
    ([], '`members` must be a list of detectors, at least one'),
    ('PatchCore', '`members` must be a list'),
    (patchcore(), '`members` must be a list'),
    ([dict(type='Ensemble', members=THREE)
      ], 'member 0 of the Ensemble is an Ensemble'),
    ([dict(type='TinyBackbone')], 'member 0 .* a TinyBackbone, is not fitted'),
    ([
        patchcore(),
        dict(FYD, fas=dict(stages=['layer2'])),
    ], 'member 1 of the Ensemble, a FYD, is not fitted without gradients'),
    ([
        patchcore(),
        dict(
            type='MKD',
            backbone=dict(type='TinyBackbone'),
            cloner=dict(
                type='Cloner', widths=((6, 6), (6, 10)), points=(0, 1)))
    ], 'member 1 of the Ensemble, a MKD, is not fitted'),
    ([7], 'a part of a model must be a dict'),
])
def test_other_members_are_refused(members, message):
    with pytest.raises(InputError, match=message):
        Ensemble(members)


def test_members_of_ones_own_need_images_held_out():
    ensemble = Ensemble([patchcore(), OwnDetector()])
    assert not ensemble.can_leave_out
    with (pytest.raises(InputError,
                        match='hold images out'), ensemble.leaving_out([0])):
        pass
