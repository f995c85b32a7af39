import numpy as np
import pytest
from PIL import Image

from mmad.datasets.transforms import read_mask
from mmad.errors import InputError
from mmad.registry import TRANSFORMS

TRUTH = np.zeros((5, 8), bool)
TRUTH[1:3, 2:7] = True


def load(path, gt_label=1, ori_shape=(5, 8)):
    return TRANSFORMS.build(dict(type='LoadMask'))(dict(
        img_path='a.png', ori_shape=ori_shape, gt_label=gt_label,
        mask_path=None if path is None else str(path)))


@pytest.mark.parametrize('high', [1, 2, 128, 255])
@pytest.mark.parametrize('mode', ['L', 'RGB', 'P'])
def test_any_scale(tmp_path, high, mode):
    image = Image.fromarray(TRUTH.astype(np.uint8) * high)
    if mode == 'P':
        image.putpalette([i for i in range(256) for _ in range(3)])
    elif mode == 'RGB':
        image = image.convert('RGB')
    image.save(tmp_path / 'mask.png')
    assert (read_mask(tmp_path / 'mask.png') == TRUTH).all()


def test_one_bit(tmp_path):
    Image.fromarray(TRUTH).save(tmp_path / 'mask.png')
    assert (read_mask(tmp_path / 'mask.png') == TRUTH).all()


def test_soft_edges_are_defect(tmp_path):
    values = np.array([[0, 1, 127, 128, 200, 255]], np.uint8)
    Image.fromarray(values).save(tmp_path / 'mask.png')
    assert read_mask(tmp_path / 'mask.png').tolist() == [
        [False, True, True, True, True, True]
    ]


def test_empty_mask(tmp_path):
    Image.new('L', (8, 5)).save(tmp_path / 'mask.png')
    assert not read_mask(tmp_path / 'mask.png').any()


def test_transform(tmp_path):
    Image.fromarray(TRUTH).save(tmp_path / 'mask.png')
    mask = load(tmp_path / 'mask.png')['gt_seg_map']
    assert mask.dtype == np.uint8
    assert (mask == TRUTH).all()


def test_normal_image_gets_an_empty_mask():
    mask = load(None, gt_label=0)['gt_seg_map']
    assert mask.shape == (5, 8)
    assert not mask.any()


def test_nothing_is_made_up_for_a_defect():
    assert 'gt_seg_map' not in load(None, gt_label=1)


def test_another_size(tmp_path):
    Image.fromarray(TRUTH.T.copy()).save(tmp_path / 'mask.png')
    with pytest.raises(InputError, match=r'is 5x8 but its image .* is 8x5'):
        load(tmp_path / 'mask.png')


@pytest.mark.parametrize('share', [None, 0, 0.8])
def test_broken(tmp_path, share):
    path = tmp_path / 'mask.png'
    if share is not None:
        noise = np.random.default_rng(0).integers(0, 2, (40, 60), np.uint8)
        Image.fromarray(noise * 255).save(path)
        content = path.read_bytes()
        path.write_bytes(content[:int(share * len(content))])
    with pytest.raises(InputError, match=r'mask\.png" cannot be read'):
        read_mask(path)
