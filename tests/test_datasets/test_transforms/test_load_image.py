import io
import struct
import warnings
import zlib

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image

from mmad.errors import InputError
from mmad.registry import TRANSFORMS


def load(path, **kwargs):
    return TRANSFORMS.build(dict(type='LoadImage', **kwargs))(
        dict(img_path=str(path)))


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


def write_deep(path, pixels):
    cv2.imwrite(str(path), np.squeeze(pixels))


def write_tiff(path, pixels, orientation):
    """A TIFF file of 16-bit colors, which Pillow does not write."""
    height, width, channels = pixels.shape
    data = np.ascontiguousarray(pixels).astype('<u2').tobytes()
    start = 8 + 2 + 10 * 12 + 4
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, start),
            (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, start + 2 * channels),
            (274, 3, 1, orientation), (277, 3, 1, channels),
            (278, 3, 1, height), (279, 4, 1, len(data))]
    path.write_bytes(
        struct.pack('<2sHIH', b'II', 42, 8, len(tags)) +
        b''.join(struct.pack('<HHII', *tag) for tag in tags) + bytes(4) +
        struct.pack(f'<{channels}H', *[16] * channels) + data)


@pytest.mark.parametrize('kind', ['png', 'tif'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_more_than_eight_bits_need_a_bit_depth(tmp_path, kind, channels):
    path = tmp_path / f'deep.{kind}'
    write_deep(path, np.full((8, 8, channels), 900, np.uint16))
    with pytest.raises(
            InputError,
            match=(r'deep\.(png|tif)" has more than 8 bits .* bit_depth=12')):
        load(path)


@pytest.mark.parametrize('kind', ['png', 'tif'])
@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('bits', [8, 10, 12, 16])
def test_bit_depth(tmp_path, kind, channels, bits):
    limit = 2**bits - 1
    pixels = np.random.default_rng(0).integers(0, limit + 1, (7, 9, channels),
                                               np.uint16)
    pixels[0, 0], pixels[0, 1] = 0, limit
    if channels == 4:
        pixels[..., 3] = 65535
    path = tmp_path / f'deep.{kind}'
    write_deep(path, pixels)
    image = load(path, bit_depth=bits)['img']
    expected = np.round(pixels[..., :3] / limit * 255)
    assert image.dtype == np.uint8
    assert (image == np.broadcast_to(expected, image.shape)).all()


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['png', 'tif'])
def test_deep_images_are_upright(tmp_path, orientation, kind):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (5, 8, 3), np.uint8)
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / 'a.png'
    Image.fromarray(pixels).save(path, exif=exif)
    expected = load(path)['img']
    # The same values in 16 bits.
    deep = tmp_path / f'deep.{kind}'
    bgr = np.ascontiguousarray(pixels[..., ::-1]).astype(np.uint16) * 257
    if kind == 'tif':
        write_tiff(deep, bgr[..., ::-1], orientation)
    else:
        write_deep(deep, bgr)
        content = deep.read_bytes()
        data = exif.tobytes()[6:]
        chunk = b'eXIf' + data
        chunk = struct.pack('>I', len(data)) + chunk + struct.pack(
            '>I', zlib.crc32(chunk))
        deep.write_bytes(content[:33] + chunk + content[33:])
    assert (load(deep, bit_depth=16)['img'] == expected).all()


def test_eight_bits_stay_as_they_are(tmp_path):
    (tmp_path / 'a.png').write_bytes(encode('png'))
    assert (load(tmp_path / 'a.png')['img'] == load(
        tmp_path / 'a.png', bit_depth=12)['img']).all()


def test_more_than_the_bit_depth(tmp_path):
    write_deep(tmp_path / 'a.png', np.full((4, 4, 3), 5000, np.uint16))
    with pytest.raises(InputError, match='values from 5000 to 5000, which'):
        load(tmp_path / 'a.png', bit_depth=12)


@pytest.mark.parametrize('kind', [np.int32, np.float32])
def test_other_types(tmp_path, kind):
    Image.fromarray(np.full((4, 4), 70000, kind)).save(tmp_path / 'a.tif')
    for options in ({}, dict(bit_depth=16)):
        with pytest.raises(InputError, match=r'a\.tif" has '):
            load(tmp_path / 'a.tif', **options)


@pytest.mark.parametrize('depth', [7, 17, '12', 12.0])
def test_bad_bit_depth(depth):
    with pytest.raises(InputError, match='`bit_depth` must be a whole'):
        TRANSFORMS.build(dict(type='LoadImage', bit_depth=depth))


# The modes that each format has.
MODES = dict(
    png=('1', 'L', 'LA', 'P', 'RGB', 'RGBA'),
    tiff=('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK'),
    jpeg=('1', 'L', 'RGB', 'CMYK'),
    webp=('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK'),
    bmp=('1', 'L', 'P', 'RGB', 'RGBA'))


@pytest.mark.parametrize(('kind', 'mode'), [(kind, mode)
                                            for kind, modes in MODES.items()
                                            for mode in modes])
@pytest.mark.parametrize('orientation', [1, 6])
# mmcv converts palettes in a way that Pillow warns of.
@pytest.mark.filterwarnings('ignore:Palette images:UserWarning')
def test_eight_bits_are_read_as_mmcv_reads_them(tmp_path, mode, kind,
                                                orientation):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (9, 12, 4), np.uint8)
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / f'a.{kind}'
    Image.fromarray(pixels).convert(mode).save(path, exif=exif)
    assert (load(path)['img'] == mmcv.imfrombytes(
        path.read_bytes(), backend='pillow')).all()


def test_transparent_palette_makes_no_warning(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (9, 12, 4), np.uint8)
    Image.fromarray(pixels).convert('P').save(tmp_path / 'a.png')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load(tmp_path / 'a.png')


def test_an_image_that_the_data_set_brings():
    step = TRANSFORMS.build(dict(type='LoadImage'))
    with pytest.raises(InputError, match='leave LoadImage out'):
        step(dict(img_path='digits/0', img=np.zeros((8, 8, 3), np.uint8)))
