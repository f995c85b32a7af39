import numpy as np
import pytest
from PIL import Image

from mmad.errors import InputError
from mmad.utils.mask_file import read_mask
from mmad.utils.region_files import list_regions, read_regions

FIRST, SECOND = np.zeros((2, 5, 8), bool)
FIRST[1:3, 2:7] = True
SECOND[2:5, 4:] = True


@pytest.fixture
def folder(tmp_path):
    """Two regions that overlap, and what is no region."""
    for name, region, value in (('000', FIRST, 3), ('001', SECOND, 255)):
        Image.fromarray(np.uint8(value * region)).save(tmp_path /
                                                       f'{name}.png')
    (tmp_path / '.hidden.png').touch()
    (tmp_path / 'notes.txt').touch()
    return tmp_path


def test_regions_and_their_values(folder):
    regions, values = read_regions(folder)
    assert np.array_equal(regions, [FIRST, SECOND])
    assert regions.dtype == bool
    assert values == [3, 255]
    assert [path.name
            for path in list_regions(folder)] == ['000.png', '001.png']


def test_the_mask_is_their_union(folder):
    assert np.array_equal(read_mask(folder), FIRST | SECOND)


def test_other_gray_files(folder):
    Image.fromarray(np.uint16(300 * FIRST)).save(folder / '000.png')
    palette = Image.fromarray(np.uint8(SECOND), 'P')
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.save(folder / '001.png')
    regions, values = read_regions(folder)
    assert np.array_equal(regions, [FIRST, SECOND])
    assert values == [300, 1]


@pytest.mark.parametrize(('pixels', 'message'), [
    (np.zeros((5, 8)), r'001\.png" has no pixel of a region'),
    (np.eye(5, 8) + FIRST, 'has the values 1 and 2, but must show one'),
    (np.ones((6, 8)), r'001\.png" is 8x6, but others of its folder are 8x5'),
    (np.ones((5, 8, 3)), 'has the mode RGB, but .* must be gray'),
    (np.ones((5, 8), bool), 'has the mode 1, but'),
])
def test_files_are_checked(folder, pixels, message):
    if pixels.dtype != bool:
        pixels = pixels.astype(np.uint8)
    Image.fromarray(pixels).save(folder / '001.png')
    for read in (read_regions, read_mask):
        with pytest.raises(InputError, match=message):
            read(folder)


def test_broken_files(folder):
    with pytest.raises(InputError, match='more than the limit of 39 pixels'):
        read_regions(folder, 39)
    (folder / '001.png').write_bytes(b'nothing')
    with pytest.raises(InputError, match=r'mask ".*001\.png" cannot be read'):
        read_regions(folder)


def test_folders_without_regions(folder):
    with pytest.raises(InputError, match='none" does not exist; it must have'):
        list_regions(folder / 'none')
    for path in list_regions(folder):
        path.unlink()
    for read in (list_regions, read_regions, read_mask):
        with pytest.raises(InputError, match='has no PNG file; it must have'):
            read(folder)
