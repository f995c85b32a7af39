import numpy as np
import pytest
import torch

from mmad.registry import TRANSFORMS


@pytest.fixture
def results():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    return dict(
        img=image, img_path='a.png', kind='cut', sample_idx=3, scale=(9, 9),
        ori_shape=(2, 4), rotation=1.5)


def pack(results):
    return TRANSFORMS.build(dict(type='PackInputs'))(results)


def test_image(results):
    packed = pack(results)
    assert set(packed) == {'inputs', 'data_samples'}
    assert packed['inputs'].dtype == torch.uint8
    assert packed['inputs'].is_contiguous()
    assert (packed['inputs'].numpy() == results['img'].transpose(2, 0, 1)
            ).all()


def test_metainfo(results):
    sample = pack(results)['data_samples']
    assert sample.metainfo == dict(
        img_path='a.png', kind='cut', sample_idx=3, ori_shape=(2, 4),
        rotation=1.5, resized_shape=(2, 4), crop_offset=(0, 0))
    assert 'gt_label' not in sample
    assert 'gt_mask' not in sample


def test_ground_truth(results):
    mask = np.array([[0, 1, 1, 0], [0, 0, 1, 0]], np.uint8)
    sample = pack(dict(results, gt_label=1, gt_seg_map=mask))['data_samples']
    assert sample.gt_label.item() == 1
    assert sample.gt_mask.dtype == torch.bool
    assert sample.gt_mask.tolist() == (mask > 0).tolist()
