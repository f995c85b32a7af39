import numpy as np
import pytest
import torch
from torch import nn

from mmad.errors import InputError
from mmad.models.layers.fitted_buffers import resize_buffers


def test_resize_buffers():
    module = nn.BatchNorm1d(3)
    module.register_buffer('bank', torch.ones(0, 0))
    module.inner = nn.BatchNorm1d(4)
    kept = module.running_mean
    state = {'a.bank': torch.ones(5, 2), 'a.running_mean': torch.ones(3),
             'a.running_var': torch.ones(7), 'a.inner.running_mean':
             torch.ones(9), 'a.weight': torch.ones(6)}
    resize_buffers(module, state, 'a.')
    assert module.bank.shape == (5, 2)
    assert module.running_var.shape == (7, )
    assert module.running_mean is kept
    # Only its own buffers, neither parameters nor those of its parts.
    assert module.weight.shape == (3, )
    assert module.inner.running_mean.shape == (4, )
    assert set(dict(module.named_buffers(recurse=False))) == {
        'bank', 'running_mean', 'running_var', 'num_batches_tracked'
    }


@pytest.mark.parametrize('stored', [
    torch.ones(1).expand(10**9, 10**9), torch.ones(2).expand(2, 2),
    torch.ones(7).as_strided((4, 4), (1, 1)),
    torch.sparse_coo_tensor(torch.zeros(2, 1).long(), [1.], (10**9, 10**9)),
    torch.empty(10**9, 10**9, device='meta'), torch.ones(4),
    torch.ones(2, 2, 2), torch.tensor(1.), torch.ones(2, 2).long(),
    torch.ones(2, 2) > 0, torch.ones(2, 2, dtype=torch.complex64),
    torch.quantize_per_tensor(torch.ones(2, 2), 1, 0, torch.quint8),
    np.ones((2, 2)), [[1.]], 'ab', 7
], ids=str)
def test_what_is_no_such_buffer(stored):
    module = nn.Module()
    module.register_buffer('bank', torch.ones(0, 0))
    with pytest.raises(InputError, match=r'tensor "a\.bank" of the check'):
        resize_buffers(module, {'a.bank': stored}, 'a.')
    assert module.bank.shape == (0, 0)


@pytest.mark.parametrize('stored', [
    torch.ones(3, 4).double(), torch.ones(4, 3).T, torch.ones(9, 9)[2:5, ::2],
    nn.Parameter(torch.ones(2, 3)), torch.ones(0, 7).half()])
def test_what_is_one(stored):
    module = nn.Module()
    module.register_buffer('bank', torch.ones(1, 1))
    resize_buffers(module, {'bank': stored}, '')
    assert module.bank.shape == stored.shape


@pytest.mark.parametrize('shape', [(), (1,), (2, 3), (1, 2, 3)])
def test_an_empty_vector_stands_for_any_shape(shape):
    module = nn.Module()
    module.register_buffer('mean', torch.empty(0))
    resize_buffers(module, {'mean': torch.ones(shape)}, '')
    assert module.mean.shape == shape
    resize_buffers(module, {'mean': torch.ones(shape)}, '')
    with pytest.raises(InputError, match='"mean" of the checkpoint'):
        resize_buffers(module, {'mean': torch.ones(2, 2, 2, 2)}, '')
