import math

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
)

from mmad.errors import InputError
from mmad.evaluation import ImageMetric
from mmad.registry import METRICS


def make_samples(kinds, scores):
    return [
        dict(
            pred_score=torch.tensor(score),
            gt_label=torch.tensor(int(kind != 'good')),
            kind=kind,
            img_path=f'{kind}/{index}.png')
        for index, (kind, score) in enumerate(zip(kinds, scores))
    ]


def run(samples):
    metric = ImageMetric()
    metric.process(None, samples)
    return metric, metric.evaluate(len(samples))


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    kinds = ['good'] * 20 + ['hole'] * 7 + ['cut'] * 9
    scores = rng.integers(0, 12, len(kinds)) + 2.5 * np.array(
        [kind != 'good' for kind in kinds])
    return make_samples(kinds, scores)


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


def test_rows_per_kind_equal_that_subset(samples):
    metric, _ = run(samples)
    assert list(metric.per_kind) == ['cut', 'hole']
    for kind, values in metric.per_kind.items():
        subset = [s for s in samples if s['kind'] in ('good', kind)]
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


@pytest.mark.parametrize('kind', ['good', 'cut'])
def test_one_class_is_undefined(kind):
    _, values = run(make_samples([kind] * 3, [0.0, 1.0, 2.0]))
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
