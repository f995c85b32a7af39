import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from mmad.errors import InputError
from mmad.models.layers import PositionGaussians, position_gaussians
from mmad.models.layers.exact_sums import to_fixed_point
from mmad.models.layers.packed_triangle import unpack


def features(number=20, dim=7, height=3, width=4, seed=0, bits=16):
    """Random features, by default such as need no rounding."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=generator)
    samples = torch.randn(number, height, width, dim, generator=generator)
    samples = (samples @ mixing + 3).permute(0, 3, 1, 2)
    return to_fixed_point(samples, bits).float()


def fit(samples, epsilon=0.01, batch=6):
    gaussians = PositionGaussians(epsilon)
    gaussians.reset()
    for part in samples.split(batch):
        gaussians.update(part, [])
    gaussians.finalize()
    return gaussians


def by_numpy(samples, epsilon=0.01):
    """Means and covariances ``(P, D)``, ``(P, D, D)`` of all at once."""
    rows = samples.flatten(2).permute(2, 0, 1).double().numpy()
    covariances = [np.cov(one, rowvar=False) for one in rows]
    return rows.mean(
        1), np.stack(covariances) + epsilon * np.eye(rows.shape[2])


@pytest.mark.parametrize('block', [1, 100, 1 << 20])
@pytest.mark.parametrize('dim', [1, 2, 7, 10])
def test_streamed_statistics_are_those_of_all_images(monkeypatch, block, dim):
    monkeypatch.setattr(position_gaussians, '_BLOCK', block)
    samples = features(dim=dim)
    gaussians = fit(samples)
    means, covariances = by_numpy(samples) if dim > 1 else (
        samples.flatten(2).permute(2, 0, 1).double().mean(1).numpy(),
        samples.flatten(2).double().var(0)[0][:, None, None].numpy() + 0.01)
    np.testing.assert_allclose(
        gaussians.mean.flatten(0, 1).numpy(), means, rtol=1e-6)
    inverse = unpack(gaussians.factor, dim).double().numpy()
    np.testing.assert_allclose(
        inverse @ covariances @ inverse.swapaxes(1, 2),
        np.broadcast_to(np.eye(dim), covariances.shape),
        atol=1e-4)


@pytest.mark.parametrize('bits', [16, 30])
def test_mahalanobis_distance_is_that_of_scipy(bits):
    samples, queries = features(bits=bits), features(5, seed=1, bits=bits)
    distances = fit(samples)(queries)
    assert distances.shape == (5, 1, 3, 4)
    means, covariances = by_numpy(samples)
    inverses = np.linalg.inv(covariances)
    expected = [[
        mahalanobis(query, means[p], inverses[p])
        for p, query in enumerate(image.flatten(1).T.double().numpy())
    ] for image in queries]
    np.testing.assert_allclose(
        distances.flatten(1).numpy(), expected, rtol=1e-4)


def test_more_channels_than_images():
    samples = features(number=4, dim=30)
    distances = fit(samples)(features(3, dim=30, seed=1))
    means, covariances = by_numpy(samples)
    query = features(3, dim=30, seed=1)[0, :, 0, 0].double().numpy()
    assert float(distances[0, 0, 0, 0]) == pytest.approx(
        mahalanobis(query, means[0], np.linalg.inv(covariances[0])), rel=1e-4)


def test_one_image():
    samples = features(number=1)
    distances = fit(samples, epsilon=0.25)(samples + 1)
    # The covariance is epsilon I: 7 channels that are off by 1.
    torch.testing.assert_close(distances,
                               torch.full_like(distances, (7 / 0.25)**0.5))


@pytest.mark.parametrize('level', [0, 5, 1e4])
def test_constant_channel(level):
    samples = features()
    samples[:, 2] = level
    distances = fit(samples)(samples)
    assert torch.isfinite(distances).all()
    assert distances.max() < 20


def test_forgetting_and_fitting_again():
    gaussians = fit(features())
    gaussians.reset()
    gaussians.update(features(seed=1), [])
    gaussians.finalize()
    expected = fit(features(seed=1), batch=20)
    torch.testing.assert_close(gaussians.mean, expected.mean)
    torch.testing.assert_close(gaussians.factor, expected.factor)


def test_state_dict_round_trip():
    gaussians = fit(features())
    other = PositionGaussians()
    other.load_state_dict(gaussians.state_dict())
    queries = features(5, seed=1)
    assert torch.equal(other(queries), gaussians(queries))


def test_state_is_means_and_one_triangle_each():
    state = fit(features(dim=9)).state_dict()
    assert {
        name: value.numel()
        for name, value in state.items()
    } == dict(
        count=1, mean=12 * 9, factor=12 * 45)


def test_another_grid():
    gaussians = PositionGaussians()
    gaussians.reset()
    gaussians.update(features(), [])
    with pytest.raises(InputError, match='5 x 4 positions instead of 3 x 4'):
        gaussians.update(features(height=5), [])
    gaussians.finalize()
    with pytest.raises(InputError, match='4 x 3 positions instead of 3 x 4'):
        gaussians(features(height=4, width=3))


@pytest.mark.parametrize('epsilon', [0, -0.01, float('nan')])
def test_epsilon_must_be_positive(epsilon):
    with pytest.raises(InputError, match='at least 1e-09, got'):
        PositionGaussians(epsilon)


def test_batches_and_order_change_nothing():
    samples = features()
    one, other = fit(samples, batch=20), fit(samples.flip(0), batch=3)
    assert torch.equal(one.mean, other.mean)
    assert torch.equal(one.factor, other.factor)


@pytest.mark.parametrize('batch', [1, 5, 16, 20])
def test_distances_do_not_depend_on_the_batch(batch):
    gaussians = fit(features(dim=50))
    queries = features(40, dim=50, seed=1)
    together = gaussians(queries)
    assert together.shape == (40, 1, 3, 4)
    parts = torch.cat([gaussians(part) for part in queries.split(batch)])
    assert torch.equal(parts, together)


# With many more channels than images, what is left of an image beside itself
# is little more than rounding, hence the larger epsilon.
@pytest.mark.parametrize(('number', 'dim', 'epsilon', 'tolerance'),
                         [(3, 2, 0.1, 1e-4), (3, 7, 10, 1e-5),
                          (4, 1, 0.01, 1e-4), (4, 10, 1, 1e-4),
                          (10, 7, 0.01, 1e-5), (10, 30, 1, 1e-4),
                          (50, 7, 1e-4, 1e-5), (50, 30, 0.01, 1e-5)])
def test_left_out_is_a_fit_without_the_image(number, dim, epsilon, tolerance):
    samples = features(number, dim)
    gaussians = fit(samples, epsilon)
    ids = [number - 1, 0, 1]
    gaussians.left_out = ids
    found = gaussians(samples[ids])
    assert found.shape == (3, 1, 3, 4)
    for image, distances in zip(ids, found):
        rest = torch.cat([samples[:image], samples[image + 1:]])
        refitted = fit(rest, epsilon)(samples[image:image + 1])[0]
        torch.testing.assert_close(distances, refitted, rtol=tolerance, atol=0)
        for p, x in enumerate(samples[image].flatten(1).T.double().numpy()):
            rows = rest.flatten(2)[..., p].double().numpy()
            covariance = np.atleast_2d(np.cov(rows, rowvar=False))
            inverse = np.linalg.inv(covariance + epsilon * np.eye(dim))
            assert float(distances.flatten()[p]) == pytest.approx(
                mahalanobis(x, rows.mean(0), inverse), rel=tolerance)


def test_left_out_of_identical_images():
    samples = features(1).expand(5, -1, -1, -1)
    gaussians = fit(samples)
    gaussians.left_out = [2]
    assert gaussians(samples[:1]).eq(0).all()


def test_leaving_out_needs_three_images():
    gaussians = fit(features(2))
    gaussians.left_out = [0]
    with pytest.raises(InputError, match='only 2 images were fitted'):
        gaussians(features(1))


def test_leaving_out_what_was_not_fitted():
    gaussians = fit(features())
    gaussians.left_out = [0]
    with pytest.raises(InputError, match='not among those fitted'):
        gaussians(features(1) + 100)


def test_gradients_go_through_the_plain_product():
    gaussians = fit(features(dim=9))
    queries = features(2, dim=9, seed=1)
    distances = gaussians(queries.requires_grad_())
    torch.testing.assert_close(distances, gaussians(queries.detach()))
    distances.sum().backward()
    assert queries.grad.abs().min() > 0


def test_layout_of_the_features_changes_nothing():
    gaussians = fit(features(dim=9))
    queries = features(3, dim=9, seed=1)
    expected = gaussians(queries.contiguous())
    for layout in (torch.channels_last, torch.contiguous_format):
        other = queries.clone(memory_format=layout)
        assert torch.equal(gaussians(other), expected)
    assert torch.equal(
        gaussians(queries.flip(3).contiguous().flip(3)), expected)
