import pytest

from mmad.datasets import MVTecAD
from mmad.errors import InputError
from mmad.registry import DATASETS


def test_categories():
    assert len(MVTecAD.CATEGORIES) == 15
    assert list(MVTecAD.CATEGORIES) == sorted(MVTecAD.CATEGORIES)
    assert set(
        MVTecAD.TEXTURES) == {'carpet', 'grid', 'leather', 'tile', 'wood'}


def test_layout(mvtec_root):
    for split, number in (('train', 7), ('test', 8)):
        dataset = DATASETS.build(
            dict(
                type='MVTecAD',
                data_root=str(mvtec_root),
                category='bottle',
                split=split))
        assert len(dataset) == number


def test_unknown_category(mvtec_root):
    with pytest.raises(InputError) as error:
        MVTecAD(str(mvtec_root), 'train', 'botle')
    assert 'no category "botle"' in str(error.value)
    assert all(name in str(error.value) for name in MVTecAD.CATEGORIES)
    with pytest.raises(InputError, match='no category "None"; it has bottle'):
        MVTecAD(str(mvtec_root), 'train')


def test_category_that_is_not_there(mvtec_root):
    with pytest.raises(InputError, match='/zipper" does not exist'):
        MVTecAD(str(mvtec_root), 'train', 'zipper')
