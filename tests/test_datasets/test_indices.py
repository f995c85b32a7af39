import numpy as np
import pytest

from mmad.datasets.indices import check_indices
from mmad.errors import InputError


@pytest.mark.parametrize(
    'value',
    [None, 1, 5,
     np.int64(3), [0], [4, 0, -5], (2, ),
     np.arange(3).tolist()])
def test_choices(value):
    check_indices(value)
    check_indices(value, 5)


@pytest.mark.parametrize(
    'value',
    [0, -1, True, 1.5, '3', [], ['a'], [0.5], [True], {
        1: 2
    }, [5], [-6]])
def test_what_chooses_nothing(value):
    with pytest.raises(InputError, match=r'^`indices` [^\n]*\.$'):
        check_indices(value, 5)


def test_more_than_there_are_is_all():
    check_indices(9, 5)
