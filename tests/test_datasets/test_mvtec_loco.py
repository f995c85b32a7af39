import pytest

from mmad.datasets import MVTecLOCO
from mmad.errors import InputError
from mmad.registry import DATASETS


@pytest.fixture
def root(own_root):
    """Two defect types, their masks one folder deeper than usual."""
    category = (own_root / 'bottle').rename(own_root / 'pushpins')
    for defect_type, name in (('hole', 'logical'), ('scratch', 'structural')):
        (category / 'test' / defect_type).rename(category / 'test' /
                                                 f'{name}_anomalies')
        truth = (category / 'ground_truth' / defect_type).rename(
            category / 'ground_truth' / f'{name}_anomalies')
        for mask in list(truth.iterdir()):
            folder = truth / mask.stem.removesuffix('_mask')
            folder.mkdir()
            mask.rename(folder / '000.png')
    return own_root


def build(root, split, **kwargs):
    return DATASETS.build(
        dict(
            type='MVTecLOCO',
            data_root=str(root),
            category='pushpins',
            split=split,
            **kwargs))


def test_image_level(root):
    assert len(build(root, 'train')) == 7
    entries = list(build(root, 'test'))
    assert [(e['defect_type'], e['gt_label']) for e in entries
            ] == ([('good', 0)] * 3 + [('logical_anomalies', 1)] * 2 +
                  [('structural_anomalies', 1)] * 3)
    assert {e['mask_path'] for e in entries} == {None}


def test_defects_have_no_pixel_labels(root):
    pipeline = [
        dict(type='LoadImage'),
        dict(type='LoadMask'),
        dict(type='PackInputs')
    ]
    for item in build(root, 'test', pipeline=pipeline):
        sample = item['data_samples']
        assert ('gt_mask' in sample) is (sample.defect_type == 'good')


def test_errors(root):
    assert len(MVTecLOCO.CATEGORIES) == 5
    with pytest.raises(InputError, match='no category "bottle"; it has break'):
        MVTecLOCO(str(root), 'train', 'bottle')
    with pytest.raises(
            InputError,
            match=(r'/screw_bag" does not exist; MVTecLOCO expects .*'
                   'test/structural_anomalies')):
        MVTecLOCO(str(root), 'test', 'screw_bag')
