from types import SimpleNamespace

import torch
from torch import nn

from mmad.registry import HOOKS


def _sync(rank):
    trained, frozen = nn.BatchNorm2d(2), nn.BatchNorm2d(2).eval()
    for norm in (trained, frozen):
        norm.running_mean += rank
        norm.running_var += 2 * rank
        norm.num_batches_tracked += 5
    hook = HOOKS.build(dict(type='SyncNormHook'))
    hook.after_train_epoch(
        SimpleNamespace(model=nn.ModuleList([trained, frozen])))
    return [trained.state_dict(), frozen.state_dict()]


def test_mean_over_processes(run_processes):
    for rank, (trained, frozen) in enumerate(run_processes(2, _sync)):
        assert trained['running_mean'].tolist() == [0.5, 0.5]
        assert trained['running_var'].tolist() == [2.0, 2.0]
        assert trained['num_batches_tracked'] == 5
        assert frozen['running_mean'].tolist() == [rank, rank]


def test_one_process_is_left_alone():
    trained, _ = _sync(3)
    assert torch.equal(trained['running_mean'], torch.full((2, ), 3.0))
