import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from small_data import HEIGHT, WIDTH, write_loco_data

from mmad.datasets import MVTecLOCO
from mmad.errors import InputError
from mmad.evaluation import PixelMetric
from mmad.registry import DATASETS
from mmad.structures import Saturation

PIPELINE = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackInputs')
]
LOGICAL = 'pushpins/ground_truth/logical_anomalies'


@pytest.fixture
def root(tmp_path):
    write_loco_data(tmp_path / 'pushpins')
    return tmp_path


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr('mmad.datasets.scan_log.print_log',
                        lambda line, *args, **kwargs: lines.append(line))
    return lines


def build(root, split='test', **kwargs):
    return DATASETS.build(
        dict(
            type='MVTecLOCO',
            data_root=str(root),
            category='pushpins',
            split=split,
            **kwargs))


def load(root):
    return [item['data_samples'] for item in build(root, pipeline=PIPELINE)]


def test_splits(root):
    assert len(build(root, 'train')) == 7
    validation = build(root, 'validation')
    assert [(e['defect_type'], e['gt_label'])
            for e in validation] == 2 * [('good', 0)]
    assert all('/validation/good/' in e['img_path'] for e in validation)
    assert validation.test_mode
    entries = list(build(root))
    assert [(e['defect_type'], e['gt_label']) for e in entries
            ] == ([('good', 0)] * 3 + [('logical_anomalies', 1)] * 2 +
                  [('structural_anomalies', 1)] * 3)
    with pytest.raises(
            InputError, match='must be "train", "validation" or "test", got'):
        build(root, 'private')


def test_a_mask_is_a_folder_with_the_saturation_of_each_value(root):
    entries = list(build(root))
    assert [e['mask_path'] for e in entries[:3]] == 3 * [None]
    assert all('saturations' not in e for e in entries[:3])
    assert entries[4]['mask_path'] == str(root / LOGICAL / '001')
    assert entries[4]['saturations'] == {
        255: Saturation(30, False),
        254: Saturation(0.5, True),
        237: Saturation(1.0, True)
    }
    # As worker processes get it.
    assert list(pickle.loads(pickle.dumps(build(root)))) == entries


def test_regions_travel_beside_their_union(root):
    samples = load(root)
    for sample in samples[:3]:
        assert not sample.gt_mask.any()
        assert 'gt_regions' not in sample
    for sample, number in zip(samples[3:], (2, 2, 1, 1, 1)):
        assert sample.gt_regions.dtype == torch.bool
        assert sample.gt_regions.shape == (number, HEIGHT, WIDTH)
        assert torch.equal(sample.gt_regions.any(0), sample.gt_mask)
        assert len(sample.region_saturations) == number
    logical = samples[3]
    assert logical.gt_regions.all(0).sum() == 9 * 6  # they overlap
    assert logical.region_saturations == [
        Saturation(30, False), Saturation(0.5, True)
    ]
    # In the order of the names of the files.
    first = np.array(Image.open(root / LOGICAL / '000' / '000.png')) > 0
    assert np.array_equal(logical.gt_regions[0], first)
    assert logical.mask_area == 9 * 12
    assert logical.mask_regions[0] == 1


@pytest.mark.parametrize('resolution', ['input', 'original'])
def test_pixel_metrics_take_the_union(root, resolution):
    samples = load(root)
    for sample in samples:
        # Perfect, as the files are the union, too.
        sample.pred_map = sample.gt_mask.float()
    metric = PixelMetric(resolution=resolution)
    metric.process(None, [sample.to_dict() for sample in samples])
    values = metric.evaluate(len(samples))
    assert values['pixel_auroc'] == 1
    assert values['aupro'] == pytest.approx(1)
    assert metric.conditions['regions'] == 5


def test_without_masks_there_are_no_pixel_labels(root):
    (root / 'pushpins/ground_truth').rename(root / 'away')
    (root / 'pushpins/defects_config.json').unlink()
    for sample in load(root):
        assert ('gt_mask' in sample) is (sample.defect_type == 'good')


def test_images_are_not_in_two_splits(root):
    for split in ('validation', 'test'):
        good = root / 'pushpins' / split / 'good' / '009.png'
        good.hardlink_to(root / 'pushpins/train/good/000.png')
        with pytest.raises(InputError, match='are training images too'):
            build(root, split)


def test_masks_without_an_image_are_named(root, said):
    (root / LOGICAL / '001').rename(root / LOGICAL / '077')
    with pytest.raises(
            InputError,
            match=(r'/logical_anomalies/001\.png" has no mask: the folder of '
                   r'masks ".*/001" does not exist; it must have a PNG')):
        build(root)
    (root / 'pushpins/test/logical_anomalies/001.png').unlink()
    assert len(build(root)) == 7
    assert ('left out 2 masks without an image (ground_truth/'
            'logical_anomalies/077/000.png') in said[-1]


def test_images_of_one_name_have_no_masks_of_their_own(root):
    image = root / 'pushpins/test/logical_anomalies/001.png'
    image.with_suffix('.bmp').write_bytes(image.read_bytes())
    with pytest.raises(
            InputError,
            match=r'/001" might belong to ".*001\.bmp" or to ".*001\.png"'):
        build(root)


def test_errors(root):
    assert len(MVTecLOCO.CATEGORIES) == 5
    with pytest.raises(InputError, match='no category "bottle"; it has break'):
        MVTecLOCO(str(root), 'train', 'bottle')
    with pytest.raises(
            InputError,
            match=(r'/screw_bag" does not exist; MVTecLOCO expects .*'
                   'test/structural_anomalies')):
        MVTecLOCO(str(root), 'test', 'screw_bag')
    (root / LOGICAL / '000/000.png').unlink()
    (root / LOGICAL / '000/001.png').unlink()
    with pytest.raises(InputError, match=r'000\.png" has no mask: .*no PNG'):
        build(root)


def test_a_value_must_be_in_the_table(root):
    Image.new('L', (WIDTH, HEIGHT), 7).save(root / LOGICAL / '001/002.png')
    with pytest.raises(
            InputError,
            match=(r'mask ".*/001/002\.png" has the value 7, which the table '
                   r'of defects does not list \(it has 237, 254, 255\)')):
        load(root)


@pytest.mark.parametrize('size', [(WIDTH, HEIGHT + 1), (HEIGHT, WIDTH)])
def test_a_mask_has_the_size_of_its_image(root, size):
    for name in ('000', '001'):
        Image.new('L', size, 255).save(root / LOGICAL / '001' / f'{name}.png')
    with pytest.raises(
            InputError,
            match=(f'001" is {size[0]}x{size[1]} but its image .* is '
                   f'{WIDTH}x{HEIGHT}; both must have the same size')):
        load(root)


def test_the_table_is_needed_with_masks(root):
    (root / 'pushpins/defects_config.json').unlink()
    assert build(root, 'train')
    with pytest.raises(
            InputError, match=r'defects_config.json" cannot be read \(FileNo'):
        build(root)
    (root / 'pushpins/defects_config.json').write_text(json.dumps([]))
    with pytest.raises(InputError, match=r'does not list \(it has \)'):
        load(root)
