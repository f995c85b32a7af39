"""FYD on parts that lie in any direction, with a search of their poses."""
import math

import pytest
import torch
from fyd_parts import FAS, ICA, train
from sklearn.metrics import roc_auc_score
from tiny_models import fit_shard

from mmad.errors import InputError
from mmad.models import PaDiM
from mmad.models.layers import affine_matrix, warp
from mmad.models.layers.affine import invert_affine

SEARCH = dict(side=32)
ALIGNED = dict(pose_search=SEARCH, ica=dict(ICA, max_angle=5, max_shift=0.03))


@pytest.fixture(scope='module')
def turned():
    """Images ``(16, 3, 64, 64)`` of one part in any direction."""
    generator = torch.Generator().manual_seed(0)
    part = torch.zeros(3, 64, 64)
    part[:, 26:38, 18:46] = 2
    part[0, 20:30, 18:26] = -1
    angle = torch.empty(16, 1).uniform_(-math.pi, math.pi, generator=generator)
    shift = torch.empty(16, 2).uniform_(-0.2, 0.2, generator=generator)
    poses = affine_matrix(shift, angle, torch.ones(16, 2), torch.zeros(16, 2),
                          (64, 64))
    images = warp(part.expand(16, 3, 64, 64), invert_affine(poses))
    return images + 0.05 * torch.randn(images.shape, generator=generator)


def search_poses(detector, images):
    detector.pose_search.reset()
    detector.pose_search.update(images, list(range(len(images))))
    detector.pose_search.finalize()
    return detector.eval()


def test_defects_of_turned_parts_stand_out(make_fyd, fit, turned):
    detector = search_poses(make_fyd(**ALIGNED, sigma=2.0), turned[:12])
    padim = PaDiM(dict(type='SteppedBackbone'), dim=6, sigma=2.0)
    spot = torch.zeros(4, 1, 64, 64)
    spot[:, :, 29:36, 33:40] = 1
    with torch.no_grad():
        matrix = detector.align(turned[12:])[1]
    spot = warp(spot, invert_affine(matrix), 'zeros')
    odd = turned[12:] + 1.5 * spot * torch.tensor([1.0, -1, 1]).view(3, 1, 1)
    ours, theirs = (
        roc_auc_score((spot > 0.5).flatten(),
                      fit(model, turned[:12])(odd)[1].detach().flatten())
        for model in (detector, padim))
    assert ours > 0.95
    assert 1 - ours < 0.5 * (1 - theirs)


def test_training_starts_from_the_poses(make_fyd, turned):
    plain = make_fyd(ica=ALIGNED['ica'])
    searched = search_poses(make_fyd(**ALIGNED), turned)
    before = train(plain, turned, 1)[0]['loss_pair']
    after = train(searched, turned, 1)[0]
    assert after['loss_pair'] < 0.5 * before
    assert after['ica_angle_std'] > 30
    # Only what is learned is held at the identity, not the poses.
    assert after['loss_mean_transform'] < 1e-6


def test_a_fit_keeps_the_poses(make_fyd, fit, turned):
    detector = search_poses(make_fyd(**ALIGNED), turned)
    found = detector.pose_search.spectra.clone()
    fit(detector, turned)
    fit(detector, turned)
    assert torch.equal(detector.pose_search.spectra, found)


@pytest.mark.parametrize('switches', [{}, dict(fas=FAS)], ids=['', 'fas'])
def test_where_no_pose_helps_it_is_padim(make_fyd, fit, switches):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 64, 64, generator=generator)
    detector = search_poses(make_fyd(**ALIGNED, **switches), images)
    logs = train(detector, images, 2)
    assert all(math.isfinite(log['loss']) for log in logs)
    assert ('loss_alignment' in logs[0]) == bool(switches)
    if switches:
        return
    ours = fit(detector.eval(), images)
    theirs = fit(PaDiM(dict(type='SteppedBackbone'), dim=6), images)
    for value, expected in zip(ours(2 * images), theirs(2 * images)):
        assert torch.equal(value, expected)


def test_reload(make_fyd, fit, turned):
    detector = search_poses(make_fyd(**ALIGNED), turned)
    fit(detector, turned)
    other = make_fyd(**ALIGNED).eval()
    other.load_state_dict(detector.state_dict())
    for ours, theirs in zip(other(turned), detector(turned)):
        assert torch.equal(ours, theirs)


def test_reload_of_another_search(make_fyd, fit, turned):
    detector = search_poses(make_fyd(**ALIGNED), turned)
    state = fit(detector, turned).state_dict()
    with pytest.raises(InputError, match='pose_search'):
        make_fyd(ica=ALIGNED['ica']).load_state_dict(state)


def test_export(make_fyd, fit, turned):
    detector = search_poses(make_fyd(**ALIGNED), turned)
    fit(detector, turned)
    images = turned[:2]
    expected = detector(images)
    program = torch.export.export(detector, (images, ), strict=False)
    for exported, own in zip(program.module()(images), expected):
        # The search goes by matrix products there.
        torch.testing.assert_close(exported, own, rtol=1e-4, atol=1e-4)


def test_without_poses_it_is_not_fitted(make_fyd, fit, turned):
    detector = fit_shard(make_fyd(pose_search=SEARCH, ica=ICA), turned, 2)
    with pytest.raises(InputError, match='pose_search is empty'):
        detector(turned)


def test_search_needs_ica(make_fyd):
    with pytest.raises(InputError, match='`pose_search` is where `ica`'):
        make_fyd(pose_search=SEARCH)
