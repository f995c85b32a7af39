"""PixelMetric at the original resolution, and beside borders and crops."""
import math

import cv2
import numpy as np
import pytest
import torch
from pixel_samples import DEFECT_TYPES, make_samples, put_on_disk, run
from sklearn.metrics import roc_auc_score

from mmad.errors import InputError
from mmad.evaluation.functional import aupro, rank, region_weights


def test_original_resolution_without_crop(tmp_path):
    samples = make_samples(DEFECT_TYPES)
    put_on_disk(samples, tmp_path, (48, 60))
    for sample in samples:
        del sample['gt_mask']
        # Equal neighbors would tie or not as interpolation rounds.
        sample['pred_map'] += 0.1 * torch.rand(
            24, 20, generator=torch.Generator().manual_seed(0))
    metric, values = run(samples, resolution='original')
    maps = torch.nn.functional.interpolate(
        torch.stack([sample['pred_map'] for sample in samples])[:, None],
        (48, 60),
        mode='bilinear')[:, 0].numpy()
    masks = np.zeros(maps.shape, dtype=bool)
    masks[[1, 2, 4, 6], 5:20, 10:30] = True
    assert values['pixel_auroc'] == pytest.approx(
        roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-6)
    weights = np.stack([region_weights(mask)[0] for mask in masks])
    assert values['aupro'] == pytest.approx(
        aupro(rank(maps, masks, weights, 4)), abs=1e-5)
    assert metric.conditions['map_size'] == '48x60'
    assert metric.conditions['cropped_images'] == 0


def test_pixels_outside_the_crop_are_left_out(tmp_path):
    samples = make_samples(['good', 'cut'], size=(20, 20))
    put_on_disk(samples, tmp_path, (48, 48))
    for sample in samples:
        sample.update(resized_shape=(24, 24), crop_offset=(2, 2))
        # Seen: rows and columns 4 to 44; the defect begins at column 10.
        sample['pred_map'][:] = 0
    samples[1]['pred_map'][:8, 3:13] = 1
    metric, values = run(samples, resolution='original')
    assert metric.conditions['map_size'] == '40x40'
    assert metric.conditions['cropped_images'] == 2
    assert values['aupro'] == pytest.approx(1, abs=0.02)
    # A defect wholly outside the crop leaves nothing to find.
    mask = np.zeros((48, 48), dtype=np.uint8)
    mask[:4] = mask[:, :4] = 255
    cv2.imwrite(samples[1]['mask_path'], mask)
    metric, values = run(samples, resolution='original')
    assert metric.conditions['regions'] == 0
    assert math.isnan(values['aupro'])
    for sample in samples:
        del sample['crop_offset']
    with pytest.raises(InputError, match='crop_offset'):
        run(samples, resolution='original')


@pytest.mark.parametrize('value', [1, 255])
def test_masks_of_either_scale_count(value, tmp_path):
    samples = make_samples(['good', 'cut'])
    put_on_disk(samples, tmp_path, (48, 60), value)
    metric, _ = run(samples, resolution='original')
    assert metric.conditions['regions'] == 1


def test_mask_files_are_checked(tmp_path):
    samples = make_samples(['good', 'cut'])
    put_on_disk(samples, tmp_path, (48, 60))
    samples[1]['ori_shape'] = (47, 60)
    with pytest.raises(InputError, match=r'0.png is \(48, 60\)'):
        run(samples, resolution='original')
    (tmp_path / '0.png').write_bytes(b'nothing')
    with pytest.raises(InputError, match=r'0.png" cannot be read'):
        run(samples, resolution='original')
    (tmp_path / '0.png').unlink()
    with pytest.raises(InputError, match=r'0.png" cannot be read'):
        run(samples, resolution='original')
    samples[1]['mask_path'] = None
    _, values = run(samples, resolution='original')
    assert math.isnan(values['pixel_auroc'])


def letterboxed(defect_types, border):
    """Samples and what a letterbox makes of them: NaN around."""
    top, left = 3, 5
    samples, boxed = make_samples(defect_types), make_samples(defect_types)
    for sample in boxed:
        for key, value in (('pred_map', border), ('gt_mask', False)):
            whole = torch.full((30, 31), value, dtype=sample[key].dtype)
            whole[top:top + 24, left:left + 20] = sample[key]
            sample[key] = whole
        sample.update(resized_shape=(24, 20), crop_offset=(-top, -left))
    return samples, boxed


@pytest.mark.parametrize('border', [math.nan, math.inf, 99.0, -99.0])
@pytest.mark.parametrize('bits', [None, 20])
def test_the_border_of_a_letterbox_is_left_out(border, bits):
    samples, boxed = letterboxed(DEFECT_TYPES, border)
    metric, values = run(samples, score_bits=bits)
    other, expected = run(boxed, score_bits=bits)
    assert values == expected
    assert metric.per_defect_type == other.per_defect_type
    assert metric.conditions == other.conditions


@pytest.mark.parametrize('border', [math.nan, 99.0])
def test_the_border_is_left_out_of_the_original(border, tmp_path):
    results = []
    for samples in letterboxed(DEFECT_TYPES, border):
        put_on_disk(samples, tmp_path, (48, 60))
        metric, values = run(samples, resolution='original')
        results.append((values, metric.per_defect_type, metric.conditions))
    assert results[0] == results[1]
    assert metric.conditions['cropped_images'] == 0


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('resolution', ['input', 'original'])
def test_scores_that_are_not_finite_are_refused(value, resolution, tmp_path):
    _, samples = letterboxed(['good', 'cut'], math.nan)
    put_on_disk(samples, tmp_path, (48, 60))
    samples[1]['pred_map'][3, 5] = value
    with pytest.raises(InputError, match=r'cut/1.png has NaN or infinity'):
        run(samples, resolution=resolution)


def test_the_crop_counts_at_the_original_resolution(tmp_path):
    samples = make_samples(['good', 'cut', 'cut'], size=(20, 20))
    put_on_disk(samples, tmp_path, (48, 48))
    for sample in samples:
        sample.update(resized_shape=(24, 24), crop_offset=(2, 2))
    outside, nothing = np.zeros((2, 48, 48), dtype=np.uint8)
    outside[:4] = 255
    cv2.imwrite(samples[1]['mask_path'], outside)
    cv2.imwrite(samples[2]['mask_path'], nothing)
    metric, _ = run(samples, resolution='original')
    assert metric.conditions['pixel_defects_removed'] == 1
    assert metric.conditions['pixel_empty_masks'] == 1
    assert 'at the original resolution' in metric.warnings[1]
