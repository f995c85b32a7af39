import torch
from torch import nn


def gradient(rank):
    values = torch.full((2, ), float(rank), requires_grad=True)
    values.square().sum().backward()
    return values.grad


def test_forks_train_whatever_ran_before(run_processes):
    torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2), ))
    gradient(0)
    for rank, found in enumerate(run_processes(2, gradient)):
        assert found.tolist() == [2 * rank] * 2
