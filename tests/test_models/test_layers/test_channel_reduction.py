import random

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from mmad.errors import InputError
from mmad.models.layers import ChannelReduction
from mmad.models.layers.exact_sums import to_fixed_point


@pytest.fixture
def maps():
    """Three stages with 3 + 4 + 5 channels of unequal spread."""
    generator = torch.Generator().manual_seed(0)
    maps = [
        torch.randn(6, channels, side, side + 2, generator=generator)
        for channels, side in ((3, 8), (4, 4), (5, 2))
    ]
    for number, level in enumerate(maps):
        level *= torch.arange(1., 1 + level.shape[1])[:, None, None]
        level += number
    # Such as need no rounding.
    return [to_fixed_point(level, 12).float() for level in maps]


def joined(maps):
    return torch.cat([
        torch.nn.functional.interpolate(level, size=maps[0].shape[-2:])
        for level in maps
    ], 1)


def fit_pca(maps, dim=4, parts=(4, 2)):
    reduction = ChannelReduction('pca', dim)
    reduction.reset()
    for batch in zip(*(level.split(parts) for level in maps), strict=True):
        reduction.update(reduction(batch), [])
    reduction.finalize()
    return reduction


def test_none_keeps_all(maps):
    torch.testing.assert_close(
        ChannelReduction('none', None)(maps), joined(maps))


@pytest.mark.parametrize('dim', [1, 5, 12])
def test_random_is_one_subset_of_the_joined_channels(maps, dim):
    reduction = ChannelReduction('random', dim, seed=3)
    features = reduction(maps)
    assert features.shape == (6, dim, 8, 10)
    assert len(set(reduction.indices.tolist())) == dim
    assert torch.equal(features, joined(maps)[:, reduction.indices])


def test_random_depends_on_the_seed_alone(maps):
    draw = []
    for seed in (0, 0, 1):
        reduction = ChannelReduction('random', 6, seed)
        reduction(maps)
        draw.append(reduction.indices.tolist())
    assert draw[0] == draw[1] != draw[2]


def test_same_indices_after_reload(maps):
    reduction = ChannelReduction('random', 6, seed=1)
    features = reduction(maps)
    other = ChannelReduction('random', 6, seed=2)
    other.load_state_dict(reduction.state_dict())
    assert torch.equal(other(maps), features)


@pytest.mark.parametrize('indices', [[7], [11, 0, 5], (2, 1), range(12)])
def test_given_channels_in_ascending_order(maps, indices):
    reduction = ChannelReduction('given', None, indices=indices)
    reduction.reset()
    features = reduction(maps)
    assert torch.equal(features, joined(maps)[:, sorted(indices)])
    # Of the state, too.
    other = ChannelReduction('given', None, indices=sorted(indices))
    other.load_state_dict(reduction.state_dict())
    assert torch.equal(other(maps), features)


def test_channels_of_the_reference_code():
    # As it draws them, with the global generator.
    state = random.getstate()
    random.seed(1024)
    expected = random.sample(range(448), 100)
    random.setstate(state)
    levels = [torch.arange(448.).view(1, 448, 1, 1)]
    given = random.Random(1024).sample(range(448), 100)
    features = ChannelReduction('given', None, indices=given)(levels)
    assert features.flatten().tolist() == sorted(expected)


def test_state_with_other_channels_is_refused(maps):
    reduction = ChannelReduction('given', None, indices=[3, 1])
    reduction(maps)
    other = ChannelReduction('given', None, indices=[3, 2])
    with pytest.raises(InputError, match='other channels than `indices`'):
        other.load_state_dict(reduction.state_dict())


def test_pca_is_that_of_scikit_learn(maps):
    reduction = fit_pca(maps)
    patches = joined(maps).permute(0, 2, 3, 1).flatten(0, 2).double().numpy()
    pca = PCA(4).fit(patches)
    np.testing.assert_allclose(
        reduction.mean.numpy(), pca.mean_, rtol=1e-6, atol=1e-6)
    # The same axes up to their signs.
    overlap = np.abs(pca.components_ @ reduction.basis.double().numpy())
    np.testing.assert_allclose(overlap, np.eye(4), atol=1e-5)
    np.testing.assert_allclose(
        np.abs(reduction(maps).permute(0, 2, 3, 1).flatten(0, 2).numpy()),
        np.abs(pca.transform(patches)),
        atol=1e-4)


def test_pca_does_not_depend_on_the_batches(maps):
    one, other = fit_pca(maps, parts=6), fit_pca(maps, parts=(1, 3, 2))
    assert torch.equal(one.basis, other.basis)
    # Neither do the signs.
    largest = one.basis.gather(0, one.basis.abs().argmax(0, keepdim=True))
    assert (largest > 0).all()


def test_pca_is_not_ready_before_its_pass(maps):
    reduction = ChannelReduction('pca', 4)
    assert not reduction.is_fitted
    assert torch.equal(reduction(maps), joined(maps))
    reduction = fit_pca(maps)
    assert reduction.is_fitted
    other = ChannelReduction('pca', 4)
    other.load_state_dict(reduction.state_dict())
    assert torch.equal(other(maps), reduction(maps))
    reduction.reset()
    assert not reduction.is_fitted


@pytest.mark.parametrize(('kind', 'dim', 'message'),
                         [('lda', 4, '"random", "pca", "given" or "none"'),
                          ('random', 0, '`dim`'), ('random', None, '`dim`'),
                          ('none', 4, '`dim`'), ('pca', -1, '`dim`'),
                          ('given', None, '`indices` must be a list')])
def test_bad_arguments(kind, dim, message):
    with pytest.raises(InputError, match=message):
        ChannelReduction(kind, dim)


@pytest.mark.parametrize(('kind', 'dim', 'indices', 'message'), [
    ('given', 3, [1, 2, 3], '`dim` must be a number for'),
    ('given', None, [1, 1], 'each once'),
    ('given', None, [], 'at least one channel'),
    ('given', None, [-1], r'`indices\[0\]` must be'),
    ('given', None, 'abc', '`indices` must be a list of numbers'),
    ('random', 4, [1, 2, 3, 4], 'None for the others'),
    ('none', None, [1], 'None for the others'),
])
def test_bad_indices(kind, dim, indices, message):
    with pytest.raises(InputError, match=message):
        ChannelReduction(kind, dim, indices=indices)


def test_given_channel_that_is_not_there(maps):
    ChannelReduction('given', None, indices=[11])(maps)
    with pytest.raises(InputError, match=r'channel 12, .* 12 channels'):
        ChannelReduction('given', None, indices=[0, 12])(maps)


@pytest.mark.parametrize('kind', ['random', 'pca'])
def test_more_than_there_are(maps, kind):
    with pytest.raises(InputError, match='12 channels together'):
        ChannelReduction(kind, 13)(maps)
