import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mmad.errors import InputError
from mmad.evaluation.functional import auroc
from mmad.evaluation.metrics.image_pixels import ImagePixels
from mmad.evaluation.metrics.ranked_pixel_metric import RankedPixelMetric


class Own(RankedPixelMetric):
    """Area under the ROC curve of pixels that samples already have."""

    PREFIX = 'own_'
    MASKS_PREFIX = 'own_'

    def measure(self, sample):
        return sample

    def values_of(self, ranking):
        return dict(area=auroc(ranking))

    def summarize(self, ranking):
        return dict(
            self.values_of(ranking),
            types=len(self.per_defect_type),
            pixels=int(ranking.positives.sum() + ranking.negatives.sum()))

    def error_bounds_of(self, histogram):
        return dict(area=0.25)

    def further_conditions(self):
        return dict(kind='test')


def make(bits, limit=0.5):
    return Own(limit, 'input', bits, 'gpu', None, None)


def draw(kinds, seed=0):
    generator = np.random.default_rng(seed)
    images = []
    for number, kind in enumerate(kinds):
        # Few values, which 13 bits hold, with ties.
        negatives, positives = (
            generator.integers(low, 32, size).astype(np.float32) / 8
            for low, size in ((0, 30), (8, 9 if kind else 0)))
        images.append(
            ImagePixels(f'{number}.png', kind, negatives, positives,
                        np.full(len(positives), 1 / 9), int(kind is not None),
                        (3, 13), True, False, None))
    return images


def area(images):
    scores = [
        part for one in images for part in (one.negatives, one.positives)
    ]
    truth = np.concatenate(
        [np.full(len(part), i % 2) for i, part in enumerate(scores)])
    return roc_auc_score(truth, np.concatenate(scores))


KINDS = ['cut', None, 'hole', None, 'cut']


@pytest.mark.parametrize('bits', [None, 13, 32])
def test_all_images_and_each_defect_type(bits):
    images, metric = draw(KINDS), make(bits)
    metric.process(None, images[:2])
    metric.process(None, images[2:])
    values = metric.evaluate(5)
    assert values == dict(
        area=pytest.approx(area(images), abs=1e-12),
        types=2,
        pixels=5 * 30 + 27)
    assert list(metric.per_defect_type) == ['cut', 'hole']
    for kind, row in metric.per_defect_type.items():
        part = [one for one in images if one.defect_type in (None, kind)]
        assert row == dict(area=pytest.approx(area(part), abs=1e-12))
    bounds = {} if bits is None else dict(own_error_bounds=dict(area=0.25))
    assert metric.conditions == dict(
        bounds,
        own_resolution='input',
        own_fpr_limit=0.5,
        own_score_bits=bits,
        own_kind='test',
        own_map_size='3x13',
        own_images_with_mask=3,
        own_regions=3,
        own_cropped_images=0,
        own_empty_masks=0,
        own_defects_removed=0)


def test_few_bits_give_other_values():
    images, metric = draw(KINDS), make(12)
    metric.process(None, images)
    assert metric.evaluate(5)['area'] != pytest.approx(area(images), abs=1e-6)


@pytest.mark.parametrize('bits', [None, 13])
def test_what_the_sampler_repeats_is_dropped(bits):
    images, metric = draw(KINDS), make(bits)
    metric.process(None, [*images, images[0]])
    assert metric.evaluate(5)['area'] == pytest.approx(area(images), abs=1e-12)


def test_exact_scores_are_not_kept_twice():
    images = draw(KINDS)
    make(None).compute_metrics(images)
    assert images == []


@pytest.mark.parametrize('bits', [None, 13])
def test_no_images(bits):
    with pytest.raises(InputError, match='no images to evaluate'):
        make(bits).evaluate(0)


@pytest.mark.parametrize(('limit', 'bits'), [(0, None), (1.1, None), (0.5, 0),
                                             (0.5, 33)])
def test_bad_arguments(limit, bits):
    with pytest.raises(InputError):
        make(bits, limit)
