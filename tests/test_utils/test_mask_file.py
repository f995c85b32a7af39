import cv2
import numpy as np
import pytest
from PIL import Image

from mmad.errors import InputError
from mmad.utils.mask_file import read_mask

TRUTH = np.zeros((5, 8), bool)
TRUTH[1:3, 2:7] = True

REGIONS = np.zeros((12, 16), np.uint8)
REGIONS[1:3, 2:7] = 1
REGIONS[6:9, 10:13] = 2


def paint(*colors):
    """One color each for background and regions."""
    colors = np.asarray(colors)
    return colors[REGIONS]


def palette(colors, indices=REGIONS):
    image = Image.fromarray(indices)
    image.putpalette([value for color in colors for value in color])
    return image


CLEAR = {
    'gray':
    Image.fromarray(paint(0, 50, 200).astype(np.uint8)),
    'gray 16':
    Image.fromarray(paint(0, 1, 60000).astype(np.uint16)),
    'gray 32':
    Image.fromarray(paint(0, 1, 70000).astype(np.int32)),
    'float':
    Image.fromarray(paint(0, 1e-3, 0.5).astype(np.float32)),
    'one bit':
    Image.fromarray(REGIONS > 0),
    'color':
    Image.fromarray(paint((0, 0, 0), (255, 0, 0), (0, 0, 1)).astype(np.uint8)),
    'palette':
    palette([(0, 0, 0), (255, 0, 0), (0, 255, 0)]),
    'dark palette':
    palette([(0, 0, 0)] * 3),
    'colored background':
    palette([(70, 0, 90), (9, 9, 9), (1, 0, 0)]),
    'alpha, black':
    Image.fromarray(
        paint((0, 0, 0, 0), (0, 0, 0, 9), (0, 0, 0, 255)).astype(np.uint8)),
    'alpha, white':
    Image.fromarray(
        paint((255, 0), (255, 9), (255, 255)).astype(np.uint8), 'LA'),
    'opaque':
    Image.fromarray(
        paint((0, 0, 0, 255), (9, 0, 0, 255),
              (0, 0, 9, 255)).astype(np.uint8)),
    'color and alpha':
    Image.fromarray(
        paint((0, 0, 0, 0), (9, 0, 0, 255), (0, 0, 9, 99)).astype(np.uint8)),
    'hidden background':
    Image.fromarray(
        paint((99, 9, 9, 0), (9, 0, 0, 255), (0, 0, 9, 99)).astype(np.uint8)),
}

UNCLEAR = {
    'black on transparent white':
    paint((255, 255, 255, 0), (0, 0, 0, 255), (0, 0, 0, 255)),
    'half transparent':
    paint((0, 0, 0, 255), (0, 0, 0, 99), (0, 0, 0, 99)),
    'nothing visible':
    paint((0, 0, 0, 0), (9, 0, 0, 0), (0, 9, 0, 0)),
    'black and red on transparent':
    paint((0, 0, 0, 0), (9, 0, 0, 255), (0, 0, 0, 255)),
}


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
    assert read_mask(tmp_path / 'mask.png').tolist() == [[
        False, True, True, True, True, True
    ]]


@pytest.mark.parametrize('name', CLEAR)
def test_all_but_the_background_is_defect(tmp_path, name):
    path = tmp_path / 'mask.tif'
    if name not in ('gray 32', 'float'):
        path = tmp_path / 'mask.png'
    CLEAR[name].save(path)
    assert (read_mask(path) == (REGIONS > 0)).all()


@pytest.mark.parametrize('channels', [3, 4])
def test_low_bytes_of_sixteen_bits(tmp_path, channels):
    pixels = np.repeat(REGIONS[..., None], channels, axis=2).astype(np.uint16)
    cv2.imwrite(str(tmp_path / 'mask.png'), pixels)
    assert (read_mask(tmp_path / 'mask.png') == (REGIONS > 0)).all()


@pytest.mark.parametrize('order', [(0, 1, 2), (0, 2, 1)])
@pytest.mark.parametrize('values', [(1, 255), (3, 4), (127, 128), (50, 200)])
def test_a_region_does_not_depend_on_the_others(tmp_path, values, order):
    """The brightest value of a file decides on nothing."""
    values = np.uint8((0, *values))[list(order)]
    Image.fromarray(values[REGIONS]).save(tmp_path / 'both.png')
    both = read_mask(tmp_path / 'both.png')
    for number in (1, 2):
        region = np.equal(REGIONS, number)
        alone = np.where(region, values[REGIONS], 0)
        Image.fromarray(alone).save(tmp_path / 'one.png')
        assert (read_mask(tmp_path / 'one.png') == (both & region)).all()


@pytest.mark.parametrize('name', UNCLEAR)
def test_colors_and_transparency_that_disagree(tmp_path, name):
    Image.fromarray(UNCLEAR[name].astype(np.uint8)).save(tmp_path / 'mask.png')
    with pytest.raises(InputError, match=r'mask\.png" is not clear: its col'):
        read_mask(tmp_path / 'mask.png')


@pytest.mark.parametrize(('colors', 'options'), [
    ([(255, 255, 255), (0, 0, 0), (9, 9, 9)], {}),
    ([(255, 0, 0), (0, 9, 0), (9, 9, 9)], dict(transparency=1)),
])
def test_palette_with_another_background(tmp_path, colors, options):
    palette(colors).save(tmp_path / 'mask.png', **options)
    with pytest.raises(
            InputError, match='palette in which the color of index 0 is not'):
        read_mask(tmp_path / 'mask.png')


@pytest.mark.parametrize(('name', 'options'),
                         [('mask.jpg', {}), ('mask.webp', {}),
                          ('mask.tif', dict(compression='jpeg'))])
def test_lossy_masks_are_refused(tmp_path, name, options):
    Image.fromarray(REGIONS * 100).save(tmp_path / name, **options)
    with pytest.raises(InputError, match='has lossy compression'):
        read_mask(tmp_path / name)


def test_lossless_webp(tmp_path):
    CLEAR['color'].save(tmp_path / 'mask.webp', lossless=True)
    assert (read_mask(tmp_path / 'mask.webp') == (REGIONS > 0)).all()


def test_values_that_are_none(tmp_path):
    pixels = np.where(REGIONS > 0, np.nan, 0).astype(np.float32)
    Image.fromarray(pixels).save(tmp_path / 'mask.tif')
    with pytest.raises(InputError, match='values that are not finite'):
        read_mask(tmp_path / 'mask.tif')


def test_empty_mask(tmp_path):
    Image.new('L', (8, 5)).save(tmp_path / 'mask.png')
    assert not read_mask(tmp_path / 'mask.png').any()


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
