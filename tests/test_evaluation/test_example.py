import numpy as np
import pytest

from mmad.evaluation.example import Example
from mmad.structures import AnomalyDataSample


def make(scores, **info):
    sample = AnomalyDataSample(metainfo=info)
    sample.pred_map = scores
    return Example.of(sample.to_dict(), 7)


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    return rng.normal(-3, 100, (32, 48)).astype(np.float32)


def test_values_are_kept_up_to_a_step(scores):
    example = make(scores, ori_shape=scores.shape, mask_path='mask.png')
    assert (example.position, example.mask_path) == (7, 'mask.png')
    assert example.is_original
    error = abs(example.scores() - scores).max()
    assert error <= np.ptp(scores) / 508 * (1 + 1e-4)
    assert example.scores().max() == scores.max()


def test_has_the_aspect_ratio_of_the_original(scores):
    example = make(scores, ori_shape=(3000, 4000), resized_shape=(32, 48))
    assert example.map.shape == (96, 128)
    assert example.is_original


def test_what_the_model_did_not_see_has_no_score(scores):
    example = make(
        scores, ori_shape=(40, 60), resized_shape=(40, 60), crop_offset=(4, 6))
    known = np.isfinite(example.scores())
    assert known[4:36, 6:54].all()
    assert known.sum() == 32 * 48


def test_border_of_a_letterbox_is_left_out(scores):
    scores[:8] = np.nan
    example = make(
        scores,
        ori_shape=(24, 48),
        resized_shape=(24, 48),
        crop_offset=(-8, 0))
    assert example.map.shape == (24, 48)
    assert np.isfinite(example.scores()).all()


@pytest.mark.parametrize('info', [
    dict(),
    dict(ori_shape=(64, 96), rotation=5.0),
    dict(ori_shape=(64, 96), frame_lost='it was moved'),
    dict(ori_shape=(64, 96), resized_shape=(40, 60))
])
def test_place_in_the_original_may_be_unknown(scores, info):
    example = make(scores, **info)
    assert not example.is_original
    assert example.map.shape == scores.shape


def test_large_maps_become_small(scores):
    example = make(np.kron(scores, np.ones((8, 8), np.float32)))
    assert example.map.shape == (85, 128)


def test_flat_maps_and_none():
    assert make(np.full((4, 4), 2.5)).scores().tolist() == [[2.5] * 4] * 4
    sample = AnomalyDataSample().to_dict()
    assert Example.of(sample, 0).map.size == 0
