from itertools import permutations

import pytest

from mmad.datasets.mask_matching import match_masks
from mmad.errors import InputError


def find(root, images, masks, good=()):
    for folder, names in (('test', [*images, *good]), ('truth', masks)):
        for name in names:
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (root / 'truth').mkdir(exist_ok=True)
    paths = [f'{root}/test/{name}' for name in images]
    found, skipped = match_masks(
        paths, [*paths, *(f'{root}/test/{name}' for name in good)],
        root / 'test', root / 'truth')
    return {
        image.removeprefix(f'{root}/test/'):
        mask.removeprefix(f'{root}/truth/')
        for image, mask in found.items()
    }, skipped


@pytest.mark.parametrize('suffix', ['.png', '_mask.png', '_mask.bmp', '.TIF'])
def test_by_relative_path(tmp_path, suffix):
    masks, skipped = find(tmp_path, ['cut/000.png', 'hole/deep/a.b.jpg'],
                          [f'cut/000{suffix}', f'hole/deep/a.b{suffix}'])
    assert masks == {
        'cut/000.png': f'cut/000{suffix}',
        'hole/deep/a.b.jpg': f'hole/deep/a.b{suffix}',
    }
    assert skipped == {}


@pytest.mark.parametrize(
    'masks', [['000.png', '000_mask.png'], ['000_mask.png', '000_mask.bmp'],
              ['000.png', '000.tif']])
def test_two_files_for_one_image(tmp_path, masks):
    with pytest.raises(InputError, match=r'000\.png" might have the mask'):
        find(tmp_path, ['000.png'], masks)


@pytest.mark.parametrize('mask', ['000.png', '000_mask.png'])
def test_one_file_for_two_images(tmp_path, mask):
    with pytest.raises(InputError, match=rf'{mask}" might belong to'):
        find(tmp_path, ['000.png', '000.jpg'], [mask])


@pytest.mark.parametrize(('images', 'masks'), [
    (['part_mask.png'], ['part_mask.png']),
    (['part_mask.png'], ['part_mask_mask.png']),
    (['part.png', 'part_mask.png'], ['part_mask.png', 'part_mask_mask.png']),
    (['part.png', 'part_mask.png'], ['part.png', 'part_mask.png']),
    (['a_mask.png', 'b_mask.png'], ['a_mask.png', 'b_mask.png']),
])
def test_images_that_are_named_like_masks(tmp_path, images, masks):
    for number, order in enumerate(permutations(images)):
        found, _ = find(tmp_path / str(number), order, masks)
        assert found == dict(zip(images, masks))


def test_no_mask(tmp_path):
    with pytest.raises(
            InputError,
            match=(r'b\.png" has no mask; expected ".*truth/b_mask\.png"')):
        find(tmp_path, ['a.png', 'b.png'], ['a.png', 'c.png'])


def test_masks_without_an_image_are_named(tmp_path):
    _, skipped = find(
        tmp_path, ['cut/a.png'],
        ['cut/a_mask.png', 'cut/b_mask.png', 'good/c.png'],
        good=['good/c.png'])
    assert skipped == {
        'masks without an image': [f'{tmp_path}/truth/cut/b_mask.png']
    }
