import numpy as np
import pytest
import torch
from scipy.stats import zscore

from mmad.errors import InputError
from mmad.models.layers import ZScores

GENERATOR = torch.Generator().manual_seed(3)
# Of three detectors on scales of their own, for 12 normal images.
SCALES = torch.tensor([[1.0], [40], [1e-3]])
SCORES = SCALES * (5 + torch.rand(3, 12, generator=GENERATOR))
NORMAL = SCALES[..., None, None] * torch.rand(3, 12, 6, 5, generator=GENERATOR)
MAPS = [
    scale * torch.rand(4, 1, 6, 5, generator=GENERATOR) for scale in SCALES
]


def measured(scores=SCORES, maps=NORMAL):
    module = ZScores(len(scores))
    maps = maps.double()
    module.measure(scores, maps.mean((2, 3)), maps.std((2, 3), correction=0))
    return module


def test_scores_of_normal_images_are_the_means_of_their_z_scores():
    found, maps = measured()(SCORES, MAPS)
    expected = zscore(SCORES.double().numpy(), axis=1, ddof=1).mean(0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert maps.shape == (4, 1, 6, 5)


def test_maps_are_on_the_scale_of_all_normal_pixels():
    found = measured()(SCORES, MAPS)[1].double().numpy()
    expected = np.mean([(one.double().numpy() - normal.mean()) / normal.std()
                        for one, normal in zip(MAPS,
                                               NORMAL.double().numpy())], 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_scale_and_offset_of_a_detector_have_no_effect():
    scores, normal, maps = SCORES.clone(), NORMAL.clone(), list(MAPS)
    scores[1], normal[1], maps[1] = (7 * part - 3
                                     for part in (scores[1], normal[1],
                                                  maps[1]))
    for one, other in zip(measured()(SCORES, MAPS),
                          measured(scores, normal)(scores, maps)):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_missing_map_leaves_the_scores():
    scores, maps = measured()(SCORES, [MAPS[0], None, MAPS[2]])
    assert maps is None
    assert scores.equal(measured()(SCORES, MAPS)[0])


@pytest.mark.parametrize(('part', 'what'), [(0, 'score'), (1, 'map, of a')])
def test_a_detector_without_spread_is_refused(part, what):
    values = [SCORES.clone(), NORMAL.clone()]
    # As of copies of an image, but for rounding.
    values[part][2] = 5 + 1e-6 * torch.rand(
        values[part][2].shape, generator=GENERATOR)
    with pytest.raises(
            InputError, match=f'member 2 gives all 12 .* the same {what}'):
        measured(*values)
    values[part][2] = 0
    with pytest.raises(InputError, match='member 2'):
        measured(*values)


@pytest.mark.parametrize('number', [0, 1])
def test_too_few_images_are_refused(number):
    values = torch.ones(3, number)
    with pytest.raises(InputError, match=f'at least two .* got {number}'):
        ZScores(3).measure(values, values, values)


def test_scores_must_be_finite():
    with pytest.raises(InputError, match='finite scores'):
        measured(SCORES.log() * torch.inf)


def test_state_is_loaded_and_checked():
    state = measured().state_dict()
    other = ZScores(3)
    assert not other.is_fitted
    other.load_state_dict(state)
    assert other(SCORES, MAPS)[1].equal(measured()(SCORES, MAPS)[1])
    with pytest.raises(InputError, match='not those of 2 detectors'):
        ZScores(2).load_state_dict(state)
    with pytest.raises(InputError, match='not those of 3 detectors'):
        other.load_state_dict(dict(state, means=torch.empty(0, 0)))
    other.load_state_dict(ZScores(3).state_dict())
    assert not other.is_fitted
