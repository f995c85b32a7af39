import numpy as np
import pytest
import torch

from mmad.errors import InputError
from mmad.registry import TRANSFORMS


@pytest.fixture
def results():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    return dict(
        img=image,
        img_path='a.png',
        defect_type='cut',
        sample_idx=3,
        scale=(9, 9),
        ori_shape=(2, 4),
        rotation=1.5,
    )


def pack(results):
    return TRANSFORMS.build(dict(type='PackInputs'))(results)


def test_image(results):
    packed = pack(results)
    assert set(packed) == {'inputs', 'data_samples'}
    assert packed['inputs'].dtype == torch.uint8
    assert packed['inputs'].is_contiguous()
    assert (packed['inputs'].numpy() == results['img'].transpose(2, 0,
                                                                 1)).all()


def test_metainfo(results):
    sample = pack(results)['data_samples']
    assert sample.metainfo == dict(
        img_path='a.png',
        defect_type='cut',
        sample_idx=3,
        ori_shape=(2, 4),
        rotation=1.5,
        resized_shape=(2, 4),
        crop_offset=(0, 0))
    assert 'gt_label' not in sample
    assert 'gt_mask' not in sample


def test_ground_truth(results):
    mask = np.array([[0, 1, 1, 0], [0, 0, 1, 0]], np.uint8)
    sample = pack(dict(results, gt_label=1, gt_seg_map=mask))['data_samples']
    assert sample.gt_label.item() == 1
    assert sample.gt_mask.dtype == torch.bool
    assert sample.gt_mask.tolist() == (mask > 0).tolist()


@pytest.mark.parametrize(
    'image',
    [None, [], np.zeros((2, 4)), [np.zeros((2, 4, 3), np.uint8)]])
def test_what_is_no_image(results, image):
    results['img'] = image
    with pytest.raises(InputError, match=r'"a.png", but needs'):
        pack(results)


@pytest.mark.parametrize('step', [
    dict(type='mmcv.Pad', size=(12, 10)),
    dict(type='Pad', size_divisor=7),
    dict(type='mmcv.CenterCrop', crop_size=11, auto_pad=True)
])
@pytest.mark.parametrize('label', [0, 1])
def test_padding_is_no_defect(step, label):
    image = np.zeros((8, 9, 3), np.uint8)
    mask = np.zeros((8, 9), np.uint8)
    mask[2:4, 3:5] = label
    results = dict(
        img=image,
        img_path='a.png',
        gt_seg_map=mask,
        ori_shape=(8, 9),
        img_shape=(8, 9),
        gt_label=label,
        mask_area=int(mask.sum()))
    padded = TRANSFORMS.build(step)(dict(results))
    with pytest.raises(InputError, match='with 255, which'):
        pack(padded)
    # A mask of other steps than LoadMask may have any values.
    del padded['mask_area']
    assert pack(padded)['data_samples'].gt_mask.any()
    if 'crop' not in str(step):
        step = dict(step, pad_val=dict(img=0, seg=0))
        sample = pack(TRANSFORMS.build(step)(results))['data_samples']
        assert int(sample.gt_mask.sum()) == 4 * label
