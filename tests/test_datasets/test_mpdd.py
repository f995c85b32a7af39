import pytest

from mmad.datasets import MPDD
from mmad.errors import InputError


def test_layout(own_root):
    (own_root / 'bottle').rename(own_root / 'tubes')
    assert len(MPDD(str(own_root), 'train', 'tubes')) == 7
    test = MPDD(str(own_root), 'test', 'tubes')
    assert [e['defect_type'] for e in test
            if e['mask_path']] == ['hole'] * 2 + ['scratch'] * 3


def test_categories(own_root):
    assert len(MPDD.CATEGORIES) == 6
    with pytest.raises(InputError, match=r'no category "bottle"; .*tubes'):
        MPDD(str(own_root), 'train', 'bottle')
    with pytest.raises(
            InputError,
            match=('/tubes" does not exist; MPDD expects train/good')):
        MPDD(str(own_root), 'train', 'tubes')
