import itertools
import math

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
)

from mmad.errors import InputError
from mmad.evaluation import ImageMetric, PixelMetric
from mmad.registry import METRICS


def make_samples(defect_types, scores):
    return [
        dict(
            pred_score=torch.tensor(score),
            gt_label=torch.tensor(int(defect_type != 'good')),
            defect_type=defect_type,
            img_path=f'{defect_type}/{index}.png')
        for index, (defect_type,
                    score) in enumerate(zip(defect_types, scores))
    ]


def run(samples, **kwargs):
    metric = ImageMetric(**kwargs)
    metric.process(None, samples)
    return metric, metric.evaluate(len(samples))


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    defect_types = ['good'] * 20 + ['hole'] * 7 + ['cut'] * 9
    scores = rng.integers(0, 12, len(defect_types)) + 2.5 * np.array(
        [defect_type != 'good' for defect_type in defect_types])
    return make_samples(defect_types, scores)


def test_against_scikit_learn(samples):
    metric, values = run(samples)
    truth = [sample['gt_label'].item() for sample in samples]
    scores = [sample['pred_score'].item() for sample in samples]
    precision, recall, _ = precision_recall_curve(truth, scores)
    assert list(values) == ['image_auroc', 'image_ap', 'image_f1max']
    assert all(type(value) is float for value in values.values())
    assert abs(values['image_auroc'] - roc_auc_score(truth, scores)) <= 1e-12
    assert abs(values['image_ap'] -
               average_precision_score(truth, scores)) <= 1e-12
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    assert values['image_f1max'] == pytest.approx(f1.max(), abs=1e-12)
    assert metric.conditions == dict(images=36, defective_images=16)


def test_rows_per_defect_type_equal_that_subset(samples):
    metric, _ = run(samples)
    assert list(metric.per_defect_type) == ['cut', 'hole']
    for defect_type, values in metric.per_defect_type.items():
        subset = [
            s for s in samples if s['defect_type'] in ('good', defect_type)
        ]
        assert run(subset)[1] == values


def test_names_have_no_prefix_unless_given():
    metric = METRICS.build(dict(type='ImageMetric'))
    assert metric.prefix == ''
    metric = ImageMetric(prefix='a')
    metric.process(None, make_samples(['good', 'cut'], [0.0, 1.0]))
    assert metric.evaluate(2)['a/image_auroc'] == 1


def test_scores_of_shape_one():
    samples = make_samples(['good', 'cut'], [[0.0], [1.0]])
    assert run(samples)[1]['image_auroc'] == 1


@pytest.mark.parametrize('defect_type', ['good', 'cut'])
def test_one_class_is_undefined(defect_type):
    _, values = run(make_samples([defect_type] * 3, [0.0, 1.0, 2.0]))
    assert all(math.isnan(value) for value in values.values())


def test_padding_is_dropped():
    samples = make_samples(['good', 'cut', 'good'], [0.0, 1.0, 2.0])
    metric = ImageMetric()
    metric.process(None, samples)
    assert metric.evaluate(2)['image_auroc'] == 1


def test_nothing_and_nan_are_refused():
    with pytest.raises(InputError, match='no images'):
        ImageMetric().evaluate(0)
    with pytest.raises(InputError, match=r'good/0.png is NaN'):
        run(make_samples(['good'], [math.nan]))
    for score in (math.inf, -math.inf):
        with pytest.raises(InputError, match=r'good/0.png is infinite'):
            run(make_samples(['good'], [score]))


def test_no_order_of_the_images_changes_the_values():
    samples = make_samples(['good', 'cut', 'hole', 'good', 'cut'],
                           [0.5, 0.5, 2.0, 1.0, 0.0])
    metric, expected = run(samples)
    for order in itertools.permutations(samples):
        other, values = run(order)
        assert values == pytest.approx(expected, abs=1e-14)
        assert other.per_defect_type == metric.per_defect_type


def share(rank, world):
    samples = make_samples(['good', 'cut', 'hole', 'good', 'cut'],
                           [0.5, 0.5, 2.0, 1.0, 0.0])
    metric = ImageMetric()
    for index in DefaultSampler(samples, shuffle=False):
        metric.process(None, [samples[index]])
    return [metric.evaluate(5), metric.per_defect_type, metric.conditions]


@pytest.mark.parametrize('world', [2, 3, 4])
def test_processes_equal_one(run_processes, world):
    parts = run_processes(world, share, world)
    alone = share(0, 1)
    assert [part[0] for part in parts] == [alone[0]] * world
    assert parts[0] == alone


def with_masks(*masks):
    defect_types = ['good'] + ['cut'] * len(masks)
    samples = make_samples(defect_types, map(float, range(9)))
    for sample, (filled, area, path) in zip(samples[1:], masks):
        sample['gt_mask'] = torch.zeros(4, 4, dtype=bool)
        sample['gt_mask'][2, 2] = filled
        sample.update(mask_area=area, mask_path=path)
    return samples


def test_masks_without_a_defect_are_counted_and_named():
    samples = with_masks((True, 3, 'a'), (False, 3, 'b'), (False, 0, 'c'))
    metric, _ = run(samples)
    assert metric.conditions == dict(
        images=4, defective_images=3, empty_masks=1, defects_removed=1)
    assert ['cut/3.png' in text for text in metric.warnings] == [True, False]
    # In words that the pixel metrics use, too.
    for sample in samples:
        sample['pred_map'] = torch.zeros(4, 4)
    other = PixelMetric()
    other.process(None, samples)
    other.evaluate(4)
    assert other.warnings == metric.warnings


def test_what_only_the_border_hides_is_gone():
    samples = with_masks((True, 3, 'a'))
    samples[1].update(resized_shape=(2, 4), crop_offset=(0, 0))
    assert run(samples)[0].conditions['defects_removed'] == 1


def test_without_masks_nothing_is_said_of_them():
    # An empty mask without a file is a filler.
    metric, _ = run(with_masks((False, None, None)))
    assert metric.conditions == dict(images=2, defective_images=1)
    assert metric.warnings == []


def decide(samples, threshold, rate=0.05):
    for sample in samples:
        sample.update(
            pred_label=sample['pred_score'] > threshold,
            image_threshold=threshold,
            false_alarm_rate=rate)
    return samples


@pytest.mark.parametrize('threshold', [-1.0, 0.0, 0.5, 1.0])
def test_verdicts_are_counted_as_by_scikit_learn(samples, threshold):
    metric, values = run(decide(samples, threshold))
    for name, found in [(None, values), *metric.per_defect_type.items()]:
        chosen = [
            sample for sample in samples
            if name is None or sample['defect_type'] in ('good', name)
        ]
        truth = [int(sample['gt_label']) for sample in chosen]
        called = [int(sample['pred_label']) for sample in chosen]
        (passed, alarms), (missed, hits) = confusion_matrix(truth,
                                                            called).tolist()
        assert found['image_precision'] == hits / (hits + alarms)
        assert found['image_recall'] == hits / (hits + missed)
        assert found['image_false_alarm_rate'] == alarms / (alarms + passed)
    assert metric.conditions['image_threshold'] == threshold
    assert metric.conditions['wanted_false_alarm_rate'] == 0.05


def test_no_verdicts_without_a_threshold(samples):
    metric, values = run(samples)
    assert set(values) == {'image_auroc', 'image_ap', 'image_f1max'}
    assert 'image_threshold' not in metric.conditions


@pytest.mark.parametrize(('defect_type', 'undefined'), [
    ('good', {'image_precision', 'image_recall'}),
    ('hole', {'image_false_alarm_rate'}),
])
def test_verdicts_of_one_kind_of_images(defect_type, undefined):
    samples = decide(make_samples([defect_type] * 3, [1.0, 2.0, 3.0]), 1.5)
    _, values = run(samples)
    names = 'image_precision', 'image_recall', 'image_false_alarm_rate'
    assert {name for name in names if math.isnan(values[name])} == undefined


def test_a_threshold_without_a_rate(samples):
    metric, _ = run(decide(samples, 0.5, rate=None))
    assert metric.conditions['image_threshold'] == 0.5
    assert 'wanted_false_alarm_rate' not in metric.conditions


def test_the_best_threshold_reaches_the_best_f1(samples):
    metric, values = run(samples)
    truth = [int(sample['gt_label']) for sample in samples]
    called = [
        float(sample['pred_score']) >= metric.best_threshold
        for sample in samples
    ]
    assert f1_score(truth, called) == pytest.approx(values['image_f1max'])


def test_the_mean_over_types_weighs_each_type_the_same(samples):
    _, plain = run(samples)
    metric, values = run(samples, mean_over_types=True)
    scores = {
        name:
        [s['pred_score'].item() for s in samples if s['defect_type'] == name]
        for name in ('good', 'hole', 'cut')
    }
    areas = [
        roc_auc_score(
            len(scores['good']) * [0] + len(scores[name]) * [1],
            scores['good'] + scores[name]) for name in ('hole', 'cut')
    ]
    assert values.pop('image_auroc_mean') == pytest.approx(
        sum(areas) / 2, abs=1e-12)
    assert values == plain
    assert all('image_auroc_mean' not in row
               for row in metric.per_defect_type.values())
    _, values = run(samples[:20], mean_over_types=True)
    assert math.isnan(values['image_auroc_mean'])
    with pytest.raises(InputError, match='`mean_over_types` must be True or'):
        ImageMetric(mean_over_types=1)
