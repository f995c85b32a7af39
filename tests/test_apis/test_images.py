import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmad.apis.images import describe_image, find_images
from mmad.errors import InputError

ARRAY = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


def test_folders_are_read_and_single_images_wrapped(tmp_path):
    for name in ('b.png', 'a.png', 'deeper/c.png', '.hidden.png', 'd.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = ['a.png', 'b.png', 'deeper/c.png']
    for folder in (tmp_path, str(tmp_path)):
        assert find_images(folder) == [str(tmp_path / n) for n in names]
    for one in (ARRAY, Image.fromarray(ARRAY), tmp_path / 'a.png'):
        found, = find_images(one)
        assert found is one


def test_an_iterator_is_not_advanced():
    images = iter([ARRAY, ARRAY])
    found = find_images(images)
    assert next(images) is ARRAY
    assert len(list(found)) == 1


@pytest.mark.parametrize('images', [
    None, 3, b'data',
    bytearray(2), {
        'a': 1
    },
    torch.zeros(3, 4, 5), '', 'none.png',
    Path('none.png')
])
def test_what_is_no_image(images):
    with pytest.raises(InputError, match=r'^[^\n]+\.?$'):
        find_images(images)


@pytest.mark.parametrize('image', [
    ARRAY[:, 0, 0], ARRAY[..., :2],
    ARRAY.astype(float), ARRAY[:0],
    Image.new('I', (3, 4)),
    Image.new('F', (3, 4)),
    Image.new('L', (0, 3)), None, b'data',
    torch.zeros(3, 4, 5)
])
def test_its_number_is_named(image):
    with pytest.raises(InputError, match='number 7'):
        describe_image(image, 7)


@pytest.mark.parametrize('image', [
    ARRAY, ARRAY[::-1],
    np.asfortranarray(ARRAY),
    Image.fromarray(ARRAY[..., ::-1].copy())
])
def test_pixels_are_a_copy_in_bgr(image):
    found = describe_image(image, 0)
    expected = image if isinstance(image, np.ndarray) else ARRAY
    assert (found['given'] == expected).all()
    assert found['given'].flags.c_contiguous
    assert not np.shares_memory(found['given'], expected)


def test_a_truncated_pillow_image_is_named():
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(file, 'png')
    image = Image.open(io.BytesIO(file.getvalue()[:2000]))
    with pytest.raises(InputError, match='number 3, a PIL image, cannot be'):
        describe_image(image, 3)
