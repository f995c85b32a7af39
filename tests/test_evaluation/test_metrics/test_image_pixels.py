import numpy as np
import pytest
import torch

from mmad.errors import InputError
from mmad.evaluation.metrics.image_pixels import defect_type_of, measure_pixels


def make_sample(label=1, **info):
    mask = torch.zeros(6, 8, dtype=torch.bool)
    mask[1:3, 1:4] = mask[5, 7] = bool(label)
    scores = torch.arange(48.).reshape(6, 8)
    return dict(
        pred_map=scores,
        gt_label=torch.tensor(label),
        gt_mask=mask,
        defect_type='cut' if label else 'good',
        img_path='a.png',
        mask_path='a_mask.png' if label else None,
        ori_shape=(6, 8)) | info


def test_pixels_are_split_by_the_mask():
    sample = make_sample()
    pixels = measure_pixels(sample, 'input', False)
    mask, scores = sample['gt_mask'].numpy(), sample['pred_map'].numpy()
    assert (pixels.positives == scores[mask]).all()
    assert (pixels.negatives == scores[~mask]).all()
    np.testing.assert_allclose(pixels.weights, [1 / 6] * 6 + [1])
    assert pixels.num_regions == 2
    assert pixels.fault is None
    assert not pixels.is_cropped


@pytest.mark.parametrize(('label', 'only', 'count'), [(0, False, 48),
                                                      (0, True, 0),
                                                      (1, True, 41)])
def test_normal_images_may_be_left_out(label, only, count):
    pixels = measure_pixels(make_sample(label), 'input', only)
    assert len(pixels.negatives) == count
    assert pixels.has_mask == bool(count)


def test_border_of_a_letterbox():
    sample = make_sample(resized_shape=(6, 4), crop_offset=(0, -2))
    sample['pred_map'][:, :2] = torch.nan
    pixels = measure_pixels(sample, 'input', False)
    assert len(pixels.positives) + len(pixels.negatives) == 24
    assert pixels.num_regions == 1
    sample['pred_map'][0, 2] = torch.nan
    with pytest.raises(InputError, match=r'a\.png has NaN or infinity'):
        measure_pixels(sample, 'input', False)


@pytest.mark.parametrize(
    ('change', 'match'),
    [(dict(gt_mask=torch.ones(5, 8)), 'both must have the size'),
     (dict(pred_map=torch.full((6, 8), torch.inf)), 'NaN or infinity')])
def test_what_does_not_fit(change, match):
    with pytest.raises(InputError, match=match):
        measure_pixels(make_sample(**change), 'input', False)


@pytest.mark.parametrize('info', [
    dict(rotation=1.0),
    dict(frame_lost='it was flipped'),
    dict(resized_shape=(12, 16))
])
def test_no_place_in_the_original(info):
    sample = make_sample(0, **info)
    measure_pixels(sample, 'input', False)
    with pytest.raises(InputError, match=r"with resolution='input'\.$"):
        measure_pixels(sample, 'original', False)


@pytest.mark.parametrize(
    ('label', 'defect_type', 'name'), [(0, 'good', None), (0, None, None),
                                       (1, 'cut', 'cut'),
                                       (1, None, 'defective'),
                                       (1, 'good', 'good')])
def test_defect_type(label, defect_type, name):
    assert defect_type_of(make_sample(label, defect_type=defect_type)) == name
