import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.config import Config
from scipy.ndimage import map_coordinates
from torch.utils.data import DataLoader

from mmad.datasets import AnomalyDataset
from mmad.errors import InputError
from mmad.evaluation import PixelMetric
from mmad.registry import TRANSFORMS

NOTES = ('rotation', 'crop_offset')


def make_image(seed=0, shape=(40, 50)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*shape, 3), np.uint8)


def pose(image, mask=None, angle=10, crop_size=24, seed=0, **results):
    transform = TRANSFORMS.build(
        dict(type='RandomPose', angle=angle, crop_size=crop_size, seed=seed))
    if mask is not None:
        results['gt_seg_map'] = mask.copy()
    return transform(dict(results, img=image))


def notes(results):
    return tuple(results[key] for key in NOTES)


def test_no_rotation_and_all_of_the_image_is_the_identity():
    image = make_image()
    results = pose(image, image[..., 0], angle=0, crop_size=(50, 40))
    assert (results['img'] == image).all()
    assert (results['gt_seg_map'] == image[..., 0]).all()
    assert notes(results) == (0, (0, 0))
    assert results['img_shape'] == results['resized_shape'] == (40, 50)


@pytest.mark.parametrize('seed', range(5))
def test_no_rotation_is_a_crop(seed):
    image = make_image()
    results = pose(
        image, image[..., 0], angle=0, crop_size=(30, 25), seed=seed)
    top, left = results['crop_offset']
    window = np.s_[top:top + 25, left:left + 30]
    assert results['img_shape'] == (25, 30)
    assert (results['img'] == image[window]).all()
    assert (results['gt_seg_map'] == image[window][..., 0]).all()


@pytest.mark.parametrize('angle', [10, 90, 180])
@pytest.mark.parametrize('shape', [(40, 50), (61, 34)])
@pytest.mark.parametrize('seed', range(3))
def test_notes_tell_where_each_pixel_comes_from(shape, angle, seed):
    rows, columns = np.mgrid[:shape[0], :shape[1]]
    values = 128 + 60 * np.sin(rows / 5) + 60 * np.cos(columns / 7 + 1)
    image = np.repeat(values.astype(np.uint8)[..., None], 3, 2)
    results = pose(image, angle=angle, crop_size=(30, 28), seed=seed)
    (top,
     left), radians = results['crop_offset'], np.deg2rad(results['rotation'])
    center = (np.array(shape) - 1) / 2
    y, x = np.mgrid[top:top + 28, left:left + 30] - center[:, None, None]
    # Counter-clockwise in an image, whose rows count downwards.
    source = (center[0] + x * np.sin(radians) + y * np.cos(radians),
              center[1] + x * np.cos(radians) - y * np.sin(radians))
    expected = map_coordinates(
        image[..., 0].astype(float), source, order=1, mode='reflect')
    assert np.abs(results['img'][..., 0] - expected).max() < 2.5


@pytest.mark.parametrize('angle', [10, 45, 180])
@pytest.mark.parametrize('seed', range(5))
def test_mask_stays_on_the_defect(angle, seed):
    mask = np.zeros((64, 64), np.uint8)
    # One inside, one at a corner, which is reflected.
    mask[20:34, 25:50] = mask[:9, :12] = 1
    image = np.repeat(mask[..., None] * 255, 3, 2)
    results = pose(image, mask, angle, 56, seed)
    gray, mask = results['img'][..., 0], results['gt_seg_map']
    assert mask.shape == (56, 56)
    assert mask.dtype == np.uint8
    assert mask[gray == 255].all()
    assert not mask[gray == 0].any()
    assert set(np.unique(mask)) == {0, 1}


@pytest.mark.parametrize('seed', range(5))
def test_no_black_corners(seed):
    results = pose(
        np.full((40, 50, 3), 200, np.uint8),
        angle=45,
        crop_size=(50, 40),
        seed=seed)
    assert (results['img'] == 200).all()


def test_pose_depends_on_the_pixels_only():
    image = make_image()
    first = pose(image)
    np.random.seed(5)
    state = np.random.get_state()[1].copy()
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, ::2] = image
    again = pose(
        wide[:, ::2],
        np.ones((40, 50), np.uint8),
        img_path='b.png',
        sample_idx=7)
    assert notes(again) == notes(first)
    assert (again['img'] == first['img']).all()
    assert (np.random.get_state()[1] == state).all()


def test_other_images_and_seeds_have_other_poses():
    image = make_image()
    other = image.copy()
    other[3, 4, 1] ^= 1
    poses = {notes(pose(image, seed=seed)) for seed in range(5)}
    poses |= {notes(pose(other, seed=seed)) for seed in range(5)}
    assert len(poses) == 10


def test_poses_are_spread_evenly():
    results = [
        pose(make_image(seed), crop_size=(48, 37)) for seed in range(300)
    ]
    rotations = np.array([r['rotation'] for r in results])
    assert np.abs(rotations).max() <= 10
    # The 0.1 % quantile of Kolmogorov's distribution for 300 values.
    grid = np.linspace(-10, 10, 300)
    assert np.abs(np.sort(rotations) - grid).max() / 20 < 0.115
    offsets = np.array([r['crop_offset'] for r in results])
    for axis, number in ((0, 4), (1, 3)):
        counts = np.bincount(offsets[:, axis])
        assert len(counts) == number
        assert counts.min() > 300 / number / 2


PIPELINE = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='RandomPose', crop_size=40),
    dict(type='PackInputs'),
]


@pytest.mark.parametrize('num_workers', [1, 2])
def test_same_with_any_number_of_workers(mvtec_root, num_workers):
    dataset = AnomalyDataset(mvtec_root, 'test', 'bottle', PIPELINE)
    loader = DataLoader(dataset, None, True, num_workers=num_workers)
    seen = 0
    for _ in range(2):
        for item in loader:
            sample = item['data_samples']
            expected = dataset[sample.sample_idx]
            assert (item['inputs'] == expected['inputs']).all()
            assert (sample.gt_mask == expected['data_samples'].gt_mask).all()
            assert notes(sample.metainfo) == notes(
                expected['data_samples'].metainfo)
            seen += 1
    assert seen == 16


def test_a_file_or_an_array_at_inference_is_posed_as_in_the_test(mvtec_root):
    dataset = AnomalyDataset(mvtec_root, 'test', 'bottle', PIPELINE)
    load, _, *rest = (TRANSFORMS.build(step) for step in PIPELINE)
    for item in (dataset[0], dataset[5]):
        results = load(dict(img_path=item['data_samples'].img_path))
        array = dict(img=results['img'], ori_shape=results['ori_shape'])
        for given in (results, array):
            assert (Compose(rest)(given)['inputs'] == item['inputs']).all()


@pytest.mark.parametrize('angle', [0, 10])
def test_no_comparison_with_the_original_once_rotated(mvtec_root, angle):
    pipeline = [*PIPELINE[:2], dict(PIPELINE[2], angle=angle), PIPELINE[3]]
    dataset = AnomalyDataset(mvtec_root, 'test', 'bottle', pipeline)
    samples = []
    for item in dataset:
        sample = item['data_samples']
        sample.pred_map = sample.gt_mask.float()
        samples.append(sample.to_dict())
    metric = PixelMetric(resolution='original')
    if angle:
        with pytest.raises(
                InputError,
                match=(
                    r"000\.png.* was rotated .* with resolution='input'\.")):
            metric.process(None, samples)
    else:
        metric.process(None, samples)
        assert metric.evaluate(8)['aupro'] == pytest.approx(1)


@pytest.mark.parametrize('arguments', [
    dict(angle=-1),
    dict(angle=181),
    dict(angle=float('nan')),
    dict(crop_size=0),
    dict(crop_size=(8, -1)),
    dict(crop_size=(8, 8, 8)),
    dict(crop_size='8'),
    dict(crop_size=8.0),
    dict(angle='1'),
    dict(seed=-1)
])
def test_bad_arguments(arguments):
    with pytest.raises(InputError, match=f'`{next(iter(arguments))}`'):
        TRANSFORMS.build(dict(type='RandomPose', **arguments))


@pytest.mark.parametrize('shape', [(8, 20), (20, 8)])
def test_crop_larger_than_the_image(shape):
    with pytest.raises(
            InputError,
            match=(
                fr'image "a\.png" is {shape[1]}x{shape[0]} .* crop of 9x9')):
        pose(np.zeros((*shape, 3), np.uint8), crop_size=9, img_path='a.png')


def test_a_config_may_hold_a_list():
    step = Config(dict(step=dict(type='RandomPose', crop_size=[30, 20]))).step
    results = TRANSFORMS.build(step)(dict(img=make_image()))
    assert results['img'].shape == (20, 30, 3)
