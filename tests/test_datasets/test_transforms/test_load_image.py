import io

import numpy as np
import pytest
from PIL import Image

from mmad.errors import InputError
from mmad.registry import TRANSFORMS


def load(path):
    return TRANSFORMS.build(dict(type='LoadImage'))(dict(img_path=str(path)))


def encode(kind):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def test_bgr(tmp_path):
    Image.new('RGB', (6, 4), (10, 20, 30)).save(tmp_path / 'a.png')
    results = load(tmp_path / 'a.png')
    assert results['img'].shape == (4, 6, 3)
    assert results['img'].dtype == np.uint8
    assert results['img'][0, 0].tolist() == [30, 20, 10]
    assert results['img_shape'] == results['ori_shape'] == (4, 6)


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'P', '1', 'LA'])
def test_always_three_channels(tmp_path, mode):
    Image.new(mode, (6, 4)).save(tmp_path / 'a.png')
    assert load(tmp_path / 'a.png')['img'].shape == (4, 6, 3)


@pytest.mark.parametrize('kind', ['png', 'jpeg', 'bmp', 'tiff'])
@pytest.mark.parametrize('share', [0, 0.3, 0.9])
def test_truncated(tmp_path, kind, share):
    content = encode(kind)
    path = tmp_path / f'broken.{kind}'
    path.write_bytes(content)
    assert load(path)['img'].shape == (40, 60, 3)
    path.write_bytes(content[:int(share * len(content))])
    with pytest.raises(InputError, match=fr'broken\.{kind}" cannot be read'):
        load(path)


@pytest.mark.parametrize('content', [None, b'no image at all'])
def test_missing_or_no_image(tmp_path, content):
    path = tmp_path / 'a.png'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r'a\.png" cannot be read'):
        load(path)


def test_sixteen_bits_are_refused_rather_than_clipped(tmp_path):
    path = tmp_path / 'deep.png'
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 900).save(
        path)
    with pytest.raises(InputError, match=r'deep\.png.* more than 8 bits'):
        TRANSFORMS.build(dict(type='LoadImage'))(dict(img_path=str(path)))
