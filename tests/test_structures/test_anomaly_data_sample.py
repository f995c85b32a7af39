import numpy as np
import pytest
import torch

from mmad.errors import InputError
from mmad.structures import AnomalyDataSample


@pytest.mark.parametrize(('name', 'dtype'), [
    ('gt_label', torch.int64),
    ('pred_score', torch.float32),
    ('pred_label', torch.bool),
])
@pytest.mark.parametrize(
    'value',
    [1, 1.0, np.float64(1),
     torch.ones(1), torch.tensor(1), [1]])
def test_scalars(name, dtype, value):
    sample = AnomalyDataSample()
    setattr(sample, name, value)
    found = getattr(sample, name)
    assert found.shape == ()
    assert found.dtype == dtype
    assert found == 1


@pytest.mark.parametrize(('name', 'dtype'), [
    ('gt_mask', torch.bool),
    ('pred_map', torch.float32),
    ('pred_mask', torch.bool),
])
def test_maps(name, dtype):
    sample = AnomalyDataSample()
    setattr(sample, name, np.eye(3, 4))
    found = getattr(sample, name)
    assert found.dtype == dtype
    assert found.tolist() == torch.eye(3, 4).to(dtype).tolist()
    with pytest.raises(ValueError, match=rf'`{name}` must have .*\(1, 3, 4\)'):
        setattr(sample, name, np.ones((1, 3, 4)))


def test_regions():
    sample = AnomalyDataSample()
    sample.gt_regions = np.eye(3, 4)[None]
    assert sample.gt_regions.dtype == torch.bool
    assert sample.gt_regions[0].tolist() == np.eye(3, 4, dtype=bool).tolist()
    with pytest.raises(
            ValueError,
            match=r'`gt_regions` must have shape \(R, H, W\), got'):
        sample.gt_regions = np.eye(3, 4)


def test_more_than_one_score():
    with pytest.raises(RuntimeError):
        AnomalyDataSample().pred_score = [1, 2]


def test_metainfo():
    sample = AnomalyDataSample(metainfo=dict(defect_type='cut'), gt_label=1)
    assert sample.defect_type == 'cut'
    assert sample.get('category') is None
    assert sample.gt_label.dtype == torch.int64
    assert 'pred_map' not in sample


def test_to_keeps_the_types():
    sample = AnomalyDataSample(gt_mask=np.eye(2), pred_score=0.25)
    copy = sample.cpu()
    assert copy.gt_mask.dtype == torch.bool
    assert copy.pred_score == 0.25


def test_original_map_marks_what_the_crop_left_out():
    sample = AnomalyDataSample(
        metainfo=dict(
            ori_shape=(16, 12), resized_shape=(8, 6), crop_offset=(2, 1)))
    sample.pred_map = torch.rand(4, 4)
    whole = sample.original_map()
    assert whole.shape == (16, 12)
    assert whole[4:12, 2:10].isfinite().all()
    assert int(whole.isnan().sum()) == 16 * 12 - 8 * 8


def test_original_map_of_a_rotated_image_is_refused():
    sample = AnomalyDataSample(
        metainfo=dict(ori_shape=(4, 4), rotation=3.0, img_path='part.png'))
    sample.pred_map = torch.rand(4, 4)
    with pytest.raises(InputError, match=r'part.png.*rotated'):
        sample.original_map()
