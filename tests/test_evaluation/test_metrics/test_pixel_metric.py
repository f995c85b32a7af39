import itertools
import math
import os

import cv2
import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from pixel_samples import DEFECT_TYPES, make_samples, run
from sklearn.metrics import average_precision_score, roc_auc_score

from mmad.errors import InputError
from mmad.evaluation import PixelMetric
from mmad.evaluation.functional import aupro, rank, region_weights
from mmad.registry import METRICS

NAMES = ['pixel_auroc', 'pixel_ap', 'pixel_f1max', 'aupro']


def test_against_scikit_learn():
    samples = make_samples(DEFECT_TYPES)
    metric, values = run(samples)
    maps = np.stack([sample['pred_map'].numpy() for sample in samples])
    masks = np.stack([sample['gt_mask'].numpy() for sample in samples])
    truth, scores = masks.ravel(), maps.ravel()
    assert list(values) == NAMES
    assert all(type(value) is float for value in values.values())
    assert abs(values['pixel_auroc'] - roc_auc_score(truth, scores)) <= 1e-12
    assert abs(values['pixel_ap'] -
               average_precision_score(truth, scores)) <= 1e-12
    weights = np.stack([region_weights(mask)[0] for mask in masks])
    expected = aupro(rank(maps, masks, weights, 8))
    assert values['aupro'] == pytest.approx(expected, abs=1e-12)
    assert metric.conditions == dict(
        resolution='input',
        fpr_limit=0.3,
        score_bits=None,
        anomalous_only=False,
        map_size='24x20',
        images_with_mask=4,
        regions=8,
        cropped_images=0,
        pixel_empty_masks=0,
        pixel_defects_removed=0)


@pytest.mark.parametrize('bits', [None, 32])
def test_anomalous_images_only(bits):
    samples = make_samples(DEFECT_TYPES)
    metric, values = run(samples, score_bits=bits, anomalous_only=True)
    subset = [sample for sample in samples if sample['defect_type'] != 'good']
    other, expected = run(subset, score_bits=bits)
    assert values == pytest.approx(expected, abs=1e-14)
    for defect_type in ('cut', 'hole'):
        assert metric.per_defect_type[defect_type] == pytest.approx(
            other.per_defect_type[defect_type], abs=1e-14)
    assert values != pytest.approx(run(samples, score_bits=bits)[1])
    assert metric.conditions['anomalous_only']
    assert metric.conditions['images_with_mask'] == 4


@pytest.mark.parametrize('bits', [None, 12])
def test_rows_per_defect_type_equal_that_subset(bits):
    samples = make_samples(DEFECT_TYPES)
    metric, _ = run(samples, score_bits=bits)
    assert list(metric.per_defect_type) == ['cut', 'hole']
    for defect_type, values in metric.per_defect_type.items():
        subset = [
            s for s in samples if s['defect_type'] in ('good', defect_type)
        ]
        assert run(
            subset, score_bits=bits)[1] == pytest.approx(
                values, abs=1e-14)


def test_fixed_memory_stays_within_its_bounds():
    samples = make_samples(DEFECT_TYPES)
    _, exact = run(samples)
    metric, coarse = run(samples, score_bits=10)
    bounds = metric.conditions['error_bounds']
    assert list(bounds) == NAMES
    assert coarse != exact
    for name in NAMES:
        assert abs(coarse[name] - exact[name]) <= bounds[name] < 0.5
    metric, lossless = run(samples, score_bits=32)
    assert lossless == pytest.approx(exact, abs=1e-13)
    assert set(metric.conditions['error_bounds'].values()) == {0.0}


@pytest.mark.parametrize('bits', [None, 32])
def test_padding_is_dropped(bits):
    samples = make_samples(DEFECT_TYPES)
    metric = PixelMetric(score_bits=bits)
    metric.process(None, samples)
    values = metric.evaluate(len(samples) - 1)
    assert values == pytest.approx(
        run(samples[:-1], score_bits=bits)[1], abs=1e-14)


def evaluate_share(rank, world, defect_types, bits, folder):
    os.makedirs(folder / str(rank))
    os.chdir(folder / str(rank))
    samples = make_samples(defect_types)
    metric = PixelMetric(score_bits=bits)
    for index in DefaultSampler(samples, shuffle=False):
        metric.process(None, [samples[index]])
    values = metric.evaluate(len(samples))
    assert os.listdir() == []
    return [values, metric.per_defect_type, metric.conditions]


@pytest.mark.parametrize('bits', [None, 20])
@pytest.mark.parametrize(
    ('world', 'defect_types'),
    [
        (2, DEFECT_TYPES),
        (3, DEFECT_TYPES),
        (4, DEFECT_TYPES[::-1]),
        (3, 40 * ['good', 'cut']),
        (3, ['cut', 'good']),  # fewer images than processes
    ],
)
def test_processes_without_a_shared_folder_equal_one(run_processes, tmp_path,
                                                     world, defect_types,
                                                     bits):
    parts = run_processes(world, evaluate_share, world, defect_types, bits,
                          tmp_path)
    metric, values = run(make_samples(defect_types), score_bits=bits)
    for part, *_ in parts:
        assert part == pytest.approx(values, abs=1e-14)
    for defect_type, expected in metric.per_defect_type.items():
        assert parts[0][1][defect_type] == pytest.approx(expected, abs=1e-14)
    bounds = metric.conditions.pop('error_bounds', {})
    assert parts[0][2].pop('error_bounds', {}) == pytest.approx(bounds)
    assert parts[0][2] == metric.conditions


def evaluate_nothing(rank):
    try:
        PixelMetric().evaluate(0)
    except InputError as error:
        return str(error)


def test_every_process_ends_with_the_sentence(run_processes):
    sentences = run_processes(2, evaluate_nothing)
    assert all('no images' in sentence for sentence in sentences)


def evaluate_files(rank, folder):
    metric = PixelMetric(collect_dir=str(folder / 'parts'))
    metric.process(None, [make_samples(DEFECT_TYPES[:2])[rank]])
    return metric.evaluate(2)


def test_a_shared_folder_may_be_used(run_processes, tmp_path):
    parts = run_processes(2, evaluate_files, tmp_path)
    assert parts[0] == parts[1] == run(make_samples(DEFECT_TYPES[:2]))[1]


def odd_samples():
    """One image of each make-up."""
    samples = make_samples(['good', 'cut', 'cut', 'hole', 'good'])
    samples[2]['gt_mask'][:] = False  # its defect is cropped away
    samples[3]['gt_mask'][:] = True
    samples[4]['pred_map'] += 1
    return samples


@pytest.mark.parametrize('resolution', ['input', 'original'])
def test_no_order_of_the_images_changes_the_values(resolution, monkeypatch):
    samples = odd_samples()
    masks = {s['mask_path']: s['gt_mask'].numpy() for s in samples}
    for module in ('image_pixels', 'defect_census'):
        monkeypatch.setattr(f'mmad.evaluation.metrics.{module}.read_mask',
                            masks.get)
    for size in (1, 2, 5):
        for chosen in itertools.permutations(samples, size):
            exact, values = run(chosen, resolution=resolution)
            binned, rough = run(chosen, resolution=resolution, score_bits=20)
            bounds = binned.conditions['error_bounds']
            for name in NAMES:
                error = abs(values[name] - rough[name])
                assert math.isnan(error) == math.isnan(bounds[name])
                assert not error > bounds[name] + 1e-12
            for defect_type, row in exact.per_defect_type.items():
                assert binned.per_defect_type[defect_type] == pytest.approx(
                    row, abs=0.02, nan_ok=True)
    # Of all of them the last order was one of 120.
    assert values == pytest.approx(
        run(samples, resolution=resolution)[1], abs=1e-12)


@pytest.mark.parametrize('bits', [None, 20])
def test_evaluating_again_starts_afresh(bits):
    metric = PixelMetric(score_bits=bits)
    values = []
    for seed in (0, 1, 0):
        samples = make_samples(DEFECT_TYPES, seed)
        metric.process(None, samples)
        values.append(metric.evaluate(len(samples)))
    assert values[0] == values[2] != values[1]


@pytest.mark.parametrize('bits', [None, 20])
def test_undefined(bits):
    _, values = run(make_samples(['good', 'good']), score_bits=bits)
    assert all(math.isnan(value) for value in values.values())
    full = make_samples(['cut'])
    full[0]['gt_mask'][:] = True
    _, values = run(full, score_bits=bits)
    assert all(math.isnan(value) for value in values.values())
    samples = make_samples(DEFECT_TYPES)
    for sample in samples:
        del sample['gt_mask']
        sample['mask_path'] = None
    metric, values = run(samples, score_bits=bits)
    assert all(math.isnan(value) for value in values.values())
    assert math.isnan(metric.per_defect_type['cut']['aupro'])


@pytest.mark.parametrize('bits', [None, 20])
def test_a_single_missing_mask_is_refused(bits):
    samples = make_samples(DEFECT_TYPES)
    samples[2]['mask_path'] = None
    samples[2]['gt_mask'][:] = False
    with pytest.raises(InputError, match=r'hole/2.png has no mask'):
        run(samples, score_bits=bits)


@pytest.mark.parametrize('bits', [None, 20])
def test_nothing_is_refused(bits):
    with pytest.raises(InputError, match='no images'):
        PixelMetric(score_bits=bits).evaluate(0)


def test_bad_samples_are_refused():
    samples = make_samples(['good', 'cut'])
    samples[0]['pred_map'][0, 0] = math.nan
    with pytest.raises(InputError, match=r'good/0.png has NaN'):
        run(samples)
    samples = make_samples(['good', 'cut'])
    samples[1]['gt_mask'] = samples[1]['gt_mask'][1:]
    with pytest.raises(InputError, match=r'mask of cut/1.png'):
        run(samples)


@pytest.mark.parametrize('kwargs', [
    dict(fpr_limit=0),
    dict(fpr_limit=1.1),
    dict(fpr_limit='0.3'),
    dict(anomalous_only='x'),
    dict(resolution='full'),
    dict(score_bits=33),
])
def test_bad_arguments_are_refused(kwargs):
    with pytest.raises(InputError, match=str(*kwargs.values())):
        PixelMetric(**kwargs)


def test_build_without_prefix():
    assert METRICS.build(dict(type='PixelMetric')).prefix == ''


@pytest.mark.parametrize('bits', [None, 20])
def test_masks_without_a_defect_are_counted_and_named(bits, tmp_path):
    samples = make_samples(['good', *8 * ['cut']])
    for sample, area in zip(samples[1:], [5, 0, 9, 0, 5, 5, 5, 5]):
        sample['gt_mask'][:] = False
        sample['mask_area'] = area
    for sample in samples[-2:]:
        # Not known: the file tells.
        del sample['mask_area']
        sample['mask_path'] = str(tmp_path / 'mask.png')
    cv2.imwrite(sample['mask_path'], np.eye(4, dtype=np.uint8))
    samples[1]['gt_mask'][0, 0] = True
    metric, _ = run(samples[::-1], score_bits=bits)
    assert metric.conditions['images_with_mask'] == 8
    assert metric.conditions['pixel_empty_masks'] == 2
    assert metric.conditions['pixel_defects_removed'] == 5
    empty, removed = metric.warnings
    assert empty.startswith('2 of 8 defective images')
    assert 'empty mask' in empty
    assert 'cut/2.png, cut/4.png.' in empty
    assert removed.startswith('5 of 8 defective images')
    assert 'no defective pixel left at the model input' in removed
    assert 'cut/3.png, cut/5.png, cut/6.png and 2 more.' in removed


def test_a_defect_without_a_name_stays_a_defect():
    samples = make_samples(['good', 'cut', 'cut', 'cut'])
    _, expected = run(samples)
    samples[1]['defect_type'] = None
    del samples[2]['defect_type']
    samples[3]['defect_type'] = 7
    metric, values = run(samples)
    assert values == expected
    assert list(metric.per_defect_type) == ['7', 'defective']
