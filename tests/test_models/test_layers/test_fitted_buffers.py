import torch
from torch import nn

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
