import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import mahalanobis
from tiny_models import feed, fit_shard

from mmad.errors import InputError
from mmad.models import PaDiM


@pytest.fixture
def make_padim():

    def make(**kwargs):
        kwargs.setdefault('dim', 6)
        return PaDiM(dict(type='TinyBackbone'), **kwargs)

    return make


@pytest.mark.parametrize(('reduction', 'dim', 'channels'),
                         [('random', 6, 6), ('pca', 6, 6), ('none', None, 16),
                          ('given', None, 3)])
def test_all_reductions(make_padim, fit, images, reduction, dim, channels):
    indices = [9, 2, 15] if reduction == 'given' else None
    detector = fit(
        make_padim(reduction=reduction, dim=dim, indices=indices), images)
    assert detector.gaussians.mean.shape == (8, 10, channels)
    scores, maps = detector(images)
    assert scores.shape == (7, )
    assert maps.shape == (7, 1, 32, 40)
    assert torch.isfinite(maps).all()


def test_score_is_the_maximum_of_the_map(make_padim, fit, images):
    detector = fit(make_padim(), images)
    scores, maps = detector(images)
    assert torch.equal(scores, maps.flatten(1).max(1).values)


def test_an_odd_patch_is_found(make_padim, fit, images):
    detector = fit(make_padim(sigma=2.0), images)
    odd = images.clone()
    odd[3, :, 8:16, 20:28] += 8
    scores, maps = detector(odd)
    assert scores.argmax() == 3
    row, column = divmod(int(maps[3].argmax()), 40)
    assert 4 <= row < 20
    assert 16 <= column < 32


def test_given_channels_are_those_of_the_seed(make_padim, fit, images):
    drawn = fit(make_padim(seed=4), images)
    indices = drawn.reduction.indices.tolist()
    given = fit(
        make_padim(reduction='given', dim=None, indices=indices[::-1]), images)
    assert torch.equal(given(images)[1], drawn(images)[1])


def sum_of_maps(backbone, images, queries, epsilon, sigma):
    """The maps by SciPy, each stage by itself."""
    total = np.zeros((len(queries), 32, 40))
    for rows, level in zip(backbone(images), backbone(queries)):
        rows, level = rows.double().numpy(), level.double().numpy()
        grid = np.empty((len(level), 1, *level.shape[2:]))
        for i, _, y, x in np.ndindex(grid.shape):
            samples = rows[:, :, y, x]
            inverse = np.linalg.inv(
                np.cov(samples, rowvar=False) +
                epsilon * np.eye(samples.shape[1]))
            grid[i, 0, y, x] = mahalanobis(level[i, :, y, x], samples.mean(0),
                                           inverse)
        large = torch.nn.functional.interpolate(
            torch.from_numpy(grid), (32, 40), mode='bilinear')[:, 0]
        total += [gaussian_filter(one, sigma) for one in large.numpy()]
    return total


SUM = dict(reduction='none', dim=None, fusion='sum_of_maps')


@pytest.mark.parametrize('stages', [['layer2', 'layer3'], ['layer3']])
def test_sum_of_maps(fit, images, stages):
    queries = images.flip(3)[:3] * 2
    backbone = dict(type='TinyBackbone', stages=stages)
    detector = fit(PaDiM(backbone, **SUM, epsilon=0.05, sigma=1.5), images)
    scores, maps = detector(queries)
    expected = sum_of_maps(detector.backbone, images, queries, 0.05, 1.5)
    np.testing.assert_allclose(maps[:, 0], expected, rtol=1e-3)
    assert torch.equal(scores, maps.flatten(1).max(1).values)


def test_one_stage_alone_is_its_sum(fit, images):
    backbone = dict(type='TinyBackbone', stages=['layer3'])
    joint, alone = (
        fit(PaDiM(backbone, 'none', None, fusion=fusion), images)
        for fusion in ('concat', 'sum_of_maps'))
    assert torch.equal(joint(images)[1], alone(images)[1])


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(fusion='sum'), '`fusion` must be "concat" or "sum_of_maps"'),
    (dict(fusion='sum_of_maps'), "set `reduction='none'`"),
    (dict(fusion='sum_of_maps', reduction='pca'), "set `reduction='none'`"),
    (dict(indices=[1]), '`indices` must be a list of channels for'),
])
def test_settings_that_do_not_fit(make_padim, kwargs, message):
    with pytest.raises(InputError, match=message):
        make_padim(**kwargs)


def test_reload_of_another_fusion(make_padim, fit, images):
    state = fit(make_padim(reduction='none', dim=None), images).state_dict()
    with pytest.raises(InputError, match="None instead of 'sum_of_maps'"):
        make_padim(**SUM).load_state_dict(state)
    state = fit(make_padim(**SUM), images).state_dict()
    with pytest.raises(InputError, match="'sum_of_maps' instead of None"):
        make_padim(reduction='none', dim=None).load_state_dict(state)
    other = make_padim(**SUM).eval()
    other.load_state_dict(state)
    assert torch.equal(
        other(images)[1],
        fit(make_padim(**SUM), images)(images)[1])


def test_pca_without_reduction_changes_no_distance(make_padim, fit, images):
    # Mahalanobis distances do not depend on the axes.
    rotated = fit(make_padim(reduction='pca', dim=16), images)
    plain = fit(make_padim(reduction='none', dim=None), images)
    torch.testing.assert_close(
        rotated(images)[1], plain(images)[1], rtol=1e-3, atol=1e-3)


def test_reload(make_padim, fit, images):
    detector = fit(make_padim(seed=1), images)
    other = make_padim(seed=2).eval()
    other.load_state_dict(detector.state_dict())
    assert torch.equal(other.reduction.indices, detector.reduction.indices)
    assert torch.equal(other(images)[1], detector(images)[1])


def test_reload_of_another_reduction(make_padim, fit, images):
    state = fit(make_padim(), images).state_dict()
    with pytest.raises(
            InputError, match="reduction 'random' instead of "
            "'none'"):
        make_padim(reduction='none', dim=None).load_state_dict(state)


def test_unfitted(make_padim, images):
    with pytest.raises(InputError, match='PaDiM is not fitted'):
        make_padim()(images)


def test_between_the_passes_of_pca_it_is_unfitted(make_padim, images):
    detector = make_padim(reduction='pca')
    detector.begin_fit(7, 2)
    feed(detector, images, 2)
    detector.end_pass()
    assert not detector.is_fitted
    with pytest.raises(InputError, match='PaDiM is not fitted'):
        detector(images)


def test_one_image(make_padim, fit, images):
    detector = fit(make_padim(), images[:1])
    scores, _ = detector(images)
    assert scores[0] < 1e-3
    assert (scores[1:] > 1).all()


def test_images_of_another_size(make_padim, fit, images):
    detector = fit(make_padim(), images)
    with pytest.raises(InputError, match='must reach the model in one size'):
        detector(images[..., :32])


def _fit_shard(rank, detector, images):
    return fit_shard(detector, images).state_dict()


@pytest.mark.parametrize('kwargs', [{}, dict(reduction='pca'), SUM])
@pytest.mark.parametrize('world', [2, 3, 4])
def test_processes_fit_as_one(run_processes, make_padim, fit, images, world,
                              kwargs):
    expected = fit(make_padim(**kwargs), images, batch_size=3).state_dict()
    for state in run_processes(world, _fit_shard, make_padim(**kwargs),
                               images):
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(state[name], value), name


@pytest.mark.parametrize('kwargs', [{}, dict(reduction='pca'), SUM])
def test_export(make_padim, fit, images, kwargs):
    detector = fit(make_padim(**kwargs), images)
    # The matrices of the anomaly map are made by SciPy, so beforehand.
    expected = detector(images)
    program = torch.export.export(detector, (images, ), strict=False)
    for exported, own in zip(program.module()(images), expected):
        torch.testing.assert_close(exported, own)
