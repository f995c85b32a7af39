import numpy as np
import pytest
import torch
from torch import nn

from mmad.errors import InputError
from mmad.models.layers import FittedModule


class Bank(FittedModule):

    def __init__(self, ndim=2, dtype=torch.float32):
        super().__init__()
        self.register_fitted('rows', ndim, dtype)
        self.register_buffer('more', torch.ones(3))


def load(module, stored):
    module.load_state_dict(dict(rows=stored), strict=False)


def test_fitted_once_there_is_something():
    bank = Bank()
    assert not bank.is_fitted
    bank.rows = torch.ones(2, 3)
    assert bank.is_fitted
    bank.reset()
    assert not bank.is_fitted
    assert bank.rows.shape == (0, 0)
    assert torch.equal(bank.more, torch.ones(3))


def test_fitted_once_all_parts_are():
    bank, part = Bank(), Bank()
    bank.part, bank.other = part, nn.Linear(2, 2)
    bank.rows = torch.ones(2, 3)
    assert not bank.is_fitted
    part.rows = torch.ones(1, 1)
    assert bank.is_fitted


@pytest.mark.parametrize('dtype', [torch.float16, torch.int64])
def test_data_type_stays(dtype):
    bank = Bank(dtype=dtype)
    bank.rows = torch.ones(2, 3, dtype=dtype)
    bank.reset()
    assert bank.rows.dtype == dtype


@pytest.mark.parametrize('shape', [(0, 0), (0, 7), (3, 1), (5, 2)])
def test_state_brings_its_shape(shape):
    bank, other = Bank(), Bank()
    bank.rows = torch.arange(float(shape[0] * shape[1])).view(shape)
    other.rows = torch.ones(9, 9)
    other.load_state_dict(bank.state_dict())
    assert torch.equal(other.rows, bank.rows)


@pytest.mark.parametrize(
    'stored', [
        torch.ones(1).expand(10**9, 10**9),
        torch.ones(2).expand(2, 2),
        torch.ones(7).as_strided((4, 4), (1, 1)),
        torch.sparse_coo_tensor(
            torch.zeros(2, 1).long(), [1.], (10**9, 10**9),
            check_invariants=True),
        torch.empty(10**9, 10**9, device='meta'),
        torch.ones(4),
        torch.ones(2, 2, 2),
        torch.tensor(1.),
        torch.ones(2, 2).long(),
        torch.ones(2, 2) > 0,
        torch.ones(2, 2, dtype=torch.complex64),
        np.ones((2, 2)), [[1.]], 'ab', 7
    ],
    ids=str)
def test_what_is_no_such_buffer(stored):
    bank = Bank()
    with pytest.raises(InputError, match='tensor "rows" of the checkpoint'):
        load(bank, stored)
    assert bank.rows.shape == (0, 0)


@pytest.mark.parametrize('stored', [
    torch.ones(3, 4).double(),
    torch.ones(4, 3).T,
    torch.ones(9, 9)[2:5, ::2],
    nn.Parameter(torch.ones(2, 3)),
    torch.ones(0, 7).half()
])
def test_what_is_one(stored):
    bank = Bank()
    load(bank, stored)
    assert torch.equal(bank.rows, stored.float())


@pytest.mark.parametrize('shape', [(), (1, ), (2, 3), (1, 2, 3)])
def test_an_empty_vector_stands_for_any_shape(shape):
    bank = Bank(ndim=1)
    load(bank, torch.ones(shape))
    assert bank.rows.shape == shape
    load(bank, torch.ones(shape))
    with pytest.raises(InputError, match='"rows" of the checkpoint'):
        load(bank, torch.ones(2, 2, 2, 2))


def test_other_modules_keep_their_shapes():
    bank = Bank()
    bank.part = nn.BatchNorm1d(4)
    state = dict(rows=torch.ones(2, 2), **{'part.running_mean': torch.ones(9)})
    with pytest.raises(RuntimeError, match='size mismatch'):
        bank.load_state_dict(state, strict=False)


@pytest.mark.filterwarnings('ignore:torch.quantize_per_tensor')
def test_a_quantized_tensor_is_no_such_buffer():
    stored = torch.quantize_per_tensor(torch.ones(2, 2), 1, 0, torch.quint8)
    with pytest.raises(InputError, match='tensor "rows" of the checkpoint'):
        load(Bank(), stored)
