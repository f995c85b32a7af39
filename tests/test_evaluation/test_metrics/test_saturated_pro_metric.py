import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from brute_force import area_up_to, count_spro_curve
from mmengine.dataset import DefaultSampler
from PIL import Image
from scipy import ndimage

from mmad.errors import InputError
from mmad.evaluation import PixelMetric, SaturatedPROMetric
from mmad.registry import METRICS
from mmad.structures import Saturation
from mmad.structures.frame import map_to_original

TYPES = ['good', 'logical', 'structural', 'good', 'logical', 'structural']
SATURATIONS = [
    Saturation(9, False),
    Saturation(10**6, False),
    Saturation(0.35, True),
    Saturation(1.0, True)
]


def make_samples(types, seed=0, folder=None):
    """Images of 2.5 times the size of the input. Regions overlap; their files
    are in `folder`, and the input sees every pixel that it can."""
    rng = np.random.default_rng(seed)
    samples = []
    for index, defect_type in enumerate(types):
        size = tuple(2 * rng.integers(4, 8, 2))
        original = tuple(int(side * 5 // 2) for side in size)
        number = 0 if defect_type == 'good' else rng.integers(1, 5)
        regions = np.zeros((number, *original), bool)
        for region in regions:
            top, left = (rng.integers(0, side - 6) for side in original)
            region[top:top + rng.integers(4, 15), left:left + 9] = True
        rows, columns = (((np.arange(side) + 0.5) * 2.5).astype(int)
                         for side in size)
        small = regions[:, rows][:, :, columns]
        scores = np.round(rng.normal(size=size) + small.sum(0), 1)
        sample = dict(
            pred_map=torch.from_numpy(scores.astype(np.float32)),
            gt_label=torch.tensor(int(number > 0)),
            gt_mask=torch.from_numpy(small.any(0)),
            defect_type=defect_type,
            img_path=f'{defect_type}/{index}.png',
            mask_path=None,
            ori_shape=original,
            resized_shape=size,
            crop_offset=(0, 0))
        if number:
            sample.update(
                mask_path=str(folder or 'masks'),
                gt_regions=torch.from_numpy(small),
                region_saturations=[
                    SATURATIONS[i] for i in rng.integers(0, 4, number)
                ])
            if folder is not None:
                sample['mask_path'] = str(folder / str(index))
                (folder / str(index)).mkdir(exist_ok=True)
                for i, region in enumerate(regions):
                    Image.fromarray(np.uint8(region)).save(
                        folder / str(index) / f'{i:03}.png')
        samples.append(sample)
    return samples


def area_of(saturation, area, scale):
    """The saturation area, as the data set defines it."""
    if not saturation.is_relative:
        return min(saturation.threshold * scale, area)
    share = saturation.threshold * area
    return max(1, int(share)) if scale == 1 else share


def view_of(sample, resolution):
    """What the brute-force count takes: scores, regions, areas."""
    scores = sample['pred_map'].numpy()
    regions = np.zeros((0, *scores.shape), bool)
    if 'gt_regions' in sample:
        regions = sample['gt_regions'].numpy()
    scale = Fraction(scores.size, math.prod(sample['ori_shape']))
    if resolution == 'original':
        scores, _ = map_to_original(scores, sample['ori_shape'])
        regions, scale = np.zeros((0, *scores.shape), bool), 1
        if sample['mask_path']:
            files = (f'{sample["mask_path"]}/{i:03}.png'
                     for i in range(len(sample['region_saturations'])))
            regions = np.stack([np.asarray(Image.open(f)) > 0 for f in files])
    kept = [(region, area_of(saturation, int(region.sum()), scale))
            for region, saturation in zip(regions,
                                          sample.get('region_saturations', []))
            if region.any()]
    areas = [float(area) for _, area in kept]
    return scores, np.array([r for r, _ in kept] or regions[:0]), areas


def run(samples, **kwargs):
    metric = SaturatedPROMetric(**kwargs)
    for sample in samples:
        metric.process(None, [sample])
    return metric, metric.evaluate(len(samples))


@pytest.mark.parametrize(('resolution', 'types', 'seed'), [
    *(('input', TYPES, seed) for seed in range(6)),
    *(('original', TYPES[:3], seed) for seed in range(4)),
])
def test_against_a_count_at_each_threshold(resolution, types, seed, tmp_path):
    samples = make_samples(types, seed, tmp_path)
    points = {
        names:
        count_spro_curve([
            view_of(sample, resolution) for sample in samples
            if sample['defect_type'] in names
        ])
        for names in (('good', 'logical', 'structural'), ('good', 'logical'),
                      ('good', 'structural'))
    }
    for limit in (0.01, 0.05, 0.3, 1):
        metric, values = run(samples, resolution=resolution, fpr_limit=limit)
        assert list(values) == ['auspro', 'auspro_mean']
        assert all(type(value) is float for value in values.values())
        whole, *rows = (area_up_to(one, limit) for one in points.values())
        assert abs(values['auspro'] - whole) <= 1e-9
        assert abs(values['auspro_mean'] - sum(rows) / 2) <= 1e-9
        assert list(metric.per_defect_type) == ['logical', 'structural']
        for row, expected in zip(metric.per_defect_type.values(), rows):
            assert list(row) == ['auspro']
            assert abs(row['auspro'] - expected) <= 1e-9


def test_conditions(tmp_path):
    samples = make_samples(TYPES, 1, tmp_path)
    number = sum(len(s.get('region_saturations', [])) for s in samples)
    metric, _ = run(samples)
    areas = sorted(math.prod(s['ori_shape']) for s in samples)
    sizes = metric.conditions.pop('spro_map_size').split(' to ')
    assert [math.prod(map(int, size.split('x')))
            for size in sizes] == [areas[0], areas[-1]]
    assert metric.conditions == dict(
        spro_resolution='original',
        spro_fpr_limit=0.05,
        spro_score_bits=None,
        spro_images_with_mask=4,
        spro_regions=number,
        spro_cropped_images=0,
        spro_empty_masks=0,
        spro_defects_removed=0)


@pytest.mark.parametrize('bits', [None, 32])
def test_no_order_of_the_images_changes_the_values(bits):
    samples = make_samples(TYPES[:5], 2)
    metric, values = run(samples, resolution='input', score_bits=bits)
    for chosen in itertools.permutations(samples):
        other, again = run(chosen, resolution='input', score_bits=bits)
        assert again == pytest.approx(values, abs=1e-12)
        assert other.conditions == metric.conditions


@pytest.mark.parametrize('bits', [12, 20])
def test_fixed_memory_stays_within_its_bound(bits):
    samples = make_samples(TYPES, 3)
    _, exact = run(samples, resolution='input')
    metric, coarse = run(samples, resolution='input', score_bits=bits)
    bounds = metric.conditions['spro_error_bounds']
    assert list(bounds) == ['auspro']
    assert abs(coarse['auspro'] -
               exact['auspro']) <= bounds['auspro'] + 1e-12 < 0.5


def evaluate_share(rank, seed, bits):
    samples = make_samples(TYPES, seed)
    metric = SaturatedPROMetric(resolution='input', score_bits=bits)
    for index in DefaultSampler(samples, shuffle=False):
        metric.process(None, [samples[index]])
    return [
        metric.evaluate(len(samples)), metric.per_defect_type,
        metric.conditions
    ]


@pytest.mark.parametrize('bits', [None, 20])
@pytest.mark.parametrize('world', [1, 2, 4])
def test_processes_equal_one(run_processes, world, bits):
    parts = run_processes(world, evaluate_share, 4, bits)
    metric, values = run(
        make_samples(TYPES, 4), resolution='input', score_bits=bits)
    for part, *_ in parts:
        assert part == pytest.approx(values, abs=1e-14)
    for name, row in metric.per_defect_type.items():
        assert parts[0][1][name] == pytest.approx(row, abs=1e-14)
    assert parts[0][2] == metric.conditions


@pytest.mark.parametrize('limit', [0.05, 0.3])
@pytest.mark.parametrize('seed', range(5))
def test_whole_components_give_the_aupro(seed, limit):
    rng = np.random.default_rng(seed)
    samples = make_samples(TYPES, seed)
    for sample in samples[1:3]:
        mask = rng.random(tuple(sample['gt_mask'].shape)) < 0.3
        labels, number = ndimage.label(mask, np.ones((3, 3)))
        assert number > 1
        regions = labels == np.arange(1, number + 1)[:, None, None]
        sample['gt_mask'] = torch.from_numpy(mask)
        sample['gt_regions'] = torch.from_numpy(regions)
        sample['region_saturations'] = number * [Saturation(1.0, True)]
    chosen = [samples[0], *samples[1:3], samples[3]]
    _, values = run(chosen, resolution='input', fpr_limit=limit)
    metric = PixelMetric(fpr_limit=limit)
    metric.process(None, chosen)
    expected = metric.evaluate(4)
    assert values['auspro'] == pytest.approx(expected['aupro'], abs=1e-12)


def test_a_region_is_full_at_its_saturation_area():
    sample = dict(
        pred_map=torch.tensor([[9.0, 8, 7, 6], [1, 0, 0, 0]]),
        gt_label=torch.tensor(1),
        gt_mask=torch.tensor([[True] * 4, [False] * 4]),
        gt_regions=torch.tensor([[[True] * 4, [False] * 4]]),
        defect_type='logical',
        img_path='x.png',
        mask_path='x',
        ori_shape=(2, 4),
        resized_shape=(2, 4))
    for scores, value in (([9.0, 8, 7, 6], 1), ([9.0, 8, -1,
                                                 -1], 1), ([9.0, -1, -1,
                                                            -1], 0.5)):
        sample['pred_map'][0] = torch.tensor(scores)
        sample['region_saturations'] = [Saturation(2, False)]
        _, values = run([sample], resolution='input', fpr_limit=0.25)
        assert values['auspro'] == pytest.approx(value)
    # Found together with a false positive, so that the curve is a diagonal.
    sample['pred_map'][:] = 3
    _, values = run([sample], resolution='input', fpr_limit=0.25)
    assert values['auspro'] == pytest.approx(0.125)


def test_regions_outside_of_the_crop_do_not_count(tmp_path):
    sample, = make_samples(['logical'], 5, tmp_path)
    number = len(sample['region_saturations'])
    height, width = sample['pred_map'].shape
    outside = np.zeros(sample['ori_shape'], bool)
    outside[:, :3] = True
    Image.fromarray(np.uint8(outside)).save(tmp_path / '0' / '900.png')
    sample['region_saturations'] = [
        *sample['region_saturations'],
        Saturation(1, False)
    ]
    sample.update(
        pred_map=sample['pred_map'][:, 2:],
        resized_shape=(height, width),
        crop_offset=(0, 2))
    metric, _ = run([sample])
    assert metric.conditions['spro_regions'] == number
    assert metric.conditions['spro_cropped_images'] == 1


def test_the_border_of_a_letterbox_is_left_out():
    samples = make_samples(TYPES, 6)
    boxed = []
    for sample in samples:
        size = (sample['pred_map'].shape[0] + 4, sample['pred_map'].shape[1])
        box = dict(sample, crop_offset=(-2, 0))
        for key, border in (('pred_map', math.nan), ('gt_mask', False),
                            ('gt_regions', False)):
            if key in sample:
                whole = torch.full((*sample[key].shape[:-2], *size), border)
                whole = whole.to(sample[key].dtype)
                whole[..., 2:-2, :] = sample[key]
                box[key] = whole
        boxed.append(box)
    metric, values = run(boxed, resolution='input')
    other, expected = run(samples, resolution='input')
    assert values == expected
    assert metric.conditions == other.conditions


def test_undefined():
    _, values = run(make_samples(['good', 'good']), resolution='input')
    assert all(math.isnan(value) for value in values.values())
    samples = make_samples(TYPES)
    for sample in samples:
        sample['mask_path'] = None
        del sample['gt_mask']
    for resolution in ('input', 'original'):
        metric, values = run(samples, resolution=resolution)
        assert all(math.isnan(value) for value in values.values())
        assert math.isnan(metric.per_defect_type['logical']['auspro'])


def test_bad_samples_are_refused(tmp_path):
    for resolution in ('input', 'original'):
        samples = make_samples(TYPES, 7, tmp_path)
        del samples[1]['region_saturations']
        with pytest.raises(
                InputError,
                match=r'mask of logical/1\.png has no saturation areas'):
            run(samples, resolution=resolution)
    for name, value, message in (
        ('frame_lost', 'it was flipped', r'1\.png" is not known: it was fl'),
        ('resized_shape', None, r'scale of "logical/1\.png" is not known; c'),
    ):
        samples = make_samples(TYPES, 7)
        if value is None:
            del samples[1][name]
        else:
            samples[1][name] = value
        with pytest.raises(InputError, match=message):
            run(samples, resolution='input')
    samples = make_samples(TYPES, 7)
    samples[2].update(
        mask_path=None, gt_mask=torch.zeros_like(samples[2]['gt_mask']))
    with pytest.raises(InputError, match=r'structural/2\.png has no mask'):
        run(samples, resolution='input')
    with pytest.raises(InputError, match='no images'):
        SaturatedPROMetric().evaluate(0)


@pytest.mark.parametrize('kwargs', [
    dict(fpr_limit=0),
    dict(fpr_limit=1.1),
    dict(resolution='full'),
    dict(score_bits=33),
])
def test_bad_arguments_are_refused(kwargs):
    with pytest.raises(InputError, match=str(*kwargs.values())):
        METRICS.build(dict(type='SaturatedPROMetric', **kwargs))
