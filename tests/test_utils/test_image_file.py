import io
import os
import socket
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mmad.datasets.transforms import LoadImage, LoadMask
from mmad.errors import InputError
from mmad.utils.image_file import MAX_PIXELS, open_image
from mmad.utils.mask_file import read_mask


def read_image(path, **kwargs):
    return LoadImage(**kwargs)(dict(img_path=str(path)))['img']


READERS = [read_image, read_mask]


def write_header(path, width, height):
    """A PNG file that says it is huge and holds nearly nothing."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack('>I', len(data)) + body + struct.pack(
            '>I', zlib.crc32(body))

    header = struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) +
                     chunk(b'IDAT', zlib.compress(bytes(50))) +
                     chunk(b'IEND', b''))


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize('size', [(60000, 60000), (13000, 13000),
                                  (2**31 - 1, 2**31 - 1), (MAX_PIXELS + 1, 1)])
def test_size_is_checked_before_decoding(tmp_path, read, size):
    write_header(tmp_path / 'a.png', *size)
    with pytest.raises(
            InputError,
            match=(fr'a\.png" is {size[0]}x{size[1]}, more than the limit of '
                   f'{MAX_PIXELS} pixels; .*`max_pixels`')):
        read(tmp_path / 'a.png')


@pytest.mark.parametrize('read', READERS)
def test_limit_by_argument(tmp_path, read):
    Image.new('L', (30, 20)).save(tmp_path / 'a.png')
    assert read(tmp_path / 'a.png', max_pixels=600).shape[:2] == (20, 30)
    with pytest.raises(InputError, match='limit of 599 pixels'):
        read(tmp_path / 'a.png', max_pixels=599)


def test_limit_may_exceed_that_of_pillow(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
    Image.new('L', (30, 20)).save(tmp_path / 'a.png')
    assert read_image(tmp_path / 'a.png').shape == (20, 30, 3)


@pytest.mark.parametrize('step', [LoadImage, LoadMask])
@pytest.mark.parametrize('limit', [0, -1, 1.5, None, 'many', True])
def test_bad_limit(step, limit):
    with pytest.raises(InputError, match='`max_pixels` must be a whole'):
        step(max_pixels=limit)


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif', '.bmp'])
def test_postscript_is_not_run(tmp_path, read, suffix, monkeypatch):

    def run(*args, **kwargs):
        raise AssertionError(f'{args} was run')

    for name in ('Popen', 'run', 'check_call', 'check_output'):
        monkeypatch.setattr(f'subprocess.{name}', run)
    path = tmp_path / f'a{suffix}'
    path.write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n'
                     b'%%EndComments\nshowpage\n%%EOF\n')
    with pytest.raises(InputError, match='in none of the formats BMP, JPEG'):
        read(path)


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize('kind', ['GIF', 'PPM', 'ICO', 'TGA', 'PCX'])
def test_other_formats_are_refused(tmp_path, read, kind):
    file = io.BytesIO()
    Image.new('L', (9, 9)).save(file, kind)
    (tmp_path / 'a.png').write_bytes(file.getvalue())
    with pytest.raises(InputError, match='in none of the formats'):
        read(tmp_path / 'a.png')


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize('kind', ['fifo', 'socket', 'folder', 'device'])
def test_only_regular_files(tmp_path, read, kind, monkeypatch):
    path = tmp_path / 'a.png'
    if kind == 'fifo':
        os.mkfifo(path)
    elif kind == 'socket':
        with socket.socket(socket.AF_UNIX) as server:
            # The path of a socket must be short.
            monkeypatch.chdir(tmp_path)
            server.bind('a.png')
    elif kind == 'folder':
        path.mkdir()
    else:
        path.symlink_to('/dev/zero')
    # A folder may hold the masks of several regions.
    words = ('has no PNG file' if
             (kind, read) == ('folder',
                              read_mask) else r'a\.png" is not a regular file')
    with pytest.raises(InputError, match=words):
        read(path)


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_several_images_in_a_file(tmp_path, read, suffix):
    path = tmp_path / f'a.{suffix}'
    first, second = Image.new('L', (9, 9)), Image.new('L', (9, 9), 255)
    first.save(path, save_all=True, append_images=[second])
    with pytest.raises(InputError, match='holds 2 images'):
        read(path)


def test_thumbnail_in_a_file(tmp_path):
    small = Image.new('L', (3, 3))
    small.encoderinfo = dict(tiffinfo={254: 1})
    Image.new('L', (9, 9), 7).save(
        tmp_path / 'a.tif', save_all=True, append_images=[small])
    assert (read_image(tmp_path / 'a.tif') == 7).all()


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('kind', ['png', 'jpeg', 'bmp', 'tiff', 'webp'])
def test_broken_files_end_in_a_sentence(tmp_path, kind):
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (9, 12, 3),
                                 np.uint8)).save(file, kind)
    path = tmp_path / 'a.png'
    messages = []
    for _ in range(60):
        content = np.frombuffer(file.getvalue(), np.uint8).copy()
        places = rng.integers(0, min(150, len(content)), 3)
        content[places] = rng.integers(0, 255, 3)
        path.write_bytes(content.tobytes()[:rng.integers(1, 400)])
        for read in READERS:
            try:
                read(path, max_pixels=10_000)
            except InputError as error:
                messages.append(str(error))
    assert len(messages) > 20
    assert not any('\n' in message for message in messages)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['png', 'tif', 'webp'])
def test_image_and_mask_are_turned_alike(tmp_path, orientation, kind):
    pixels = np.zeros((6, 9), np.uint8)
    pixels[1, 2:7] = 255
    exif = Image.Exif()
    exif[0x112] = orientation
    options = dict(lossless=True) if kind == 'webp' else {}
    path = tmp_path / f'a.{kind}'
    Image.fromarray(pixels).save(path, exif=exif, **options)
    assert ((read_image(path)[..., 0] > 0) == read_mask(path)).all()
    assert read_mask(path).shape == ((9, 6) if orientation > 4 else (6, 9))
    Image.fromarray(pixels[::-1]).save(path, exif=exif, **options)
    assert ((read_image(path)[..., 0] > 0) == read_mask(path)).all()


def test_missing(tmp_path):
    with pytest.raises(InputError, match=r'a\.png" cannot be read'), \
            open_image(tmp_path / 'a.png'):
        pass
