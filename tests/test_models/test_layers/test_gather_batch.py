import pytest
import torch
import torch.distributed as dist

from mmad.errors import InputError
from mmad.models.layers import gather_batch, own_part


def total(values, weight):
    """Any function in which all rows depend on each other."""
    centered = values - values.mean(0)
    return (centered *
            weight).square().sum().sqrt() + (values * values.roll(1, 0)).sum()


def shard(rank, values, weight):
    world = dist.get_world_size()
    own = values[rank::world].clone().requires_grad_()
    gathered = gather_batch(own)
    loss = total(gathered, weight)
    loss.backward()
    return dict(
        loss=loss.detach(),
        gathered=gathered.detach(),
        gradient=own.grad,
        own=own_part(gathered).detach())


@pytest.mark.parametrize('world', [2, 3])
def test_as_in_one_process(run_processes, world):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(6, 4, generator=generator)
    weight = torch.randn(4, generator=generator)
    alone = values.clone().requires_grad_()
    loss = total(gather_batch(alone), weight)
    loss.backward()
    for rank, found in enumerate(run_processes(world, shard, values, weight)):
        assert torch.equal(found['gathered'], values)
        assert torch.equal(found['own'], values[rank::world])
        torch.testing.assert_close(found['loss'], loss.detach())
        # Each process has the same loss, so that the mean over them counts.
        torch.testing.assert_close(found['gradient'] / world,
                                   alone.grad[rank::world])


def test_alone_nothing_happens():
    values = torch.ones(3, requires_grad=True)
    assert gather_batch(values) is values
    assert own_part(values) is values


def uneven(rank):
    with pytest.raises(InputError, match=r'batches of \[1, 2\] images .*True'):
        gather_batch(torch.zeros(1 + rank, 2))


def test_uneven_batches(run_processes):
    run_processes(2, uneven)


def sum_with_another(rank):
    own = torch.ones(1, 2, requires_grad=True)
    other = torch.ones(2, 2, requires_grad=True)
    factor = torch.full((2, 2), 3.0)
    doubled = 2 * other
    ((gather_batch(own) + doubled) * factor).sum().backward()
    return dict(own=own.grad, other=other.grad)


def test_gradients_of_others_stay(run_processes):
    for found in run_processes(2, sum_with_another):
        assert torch.equal(found['own'], torch.full((1, 2), 6.0))
        assert torch.equal(found['other'], torch.full((2, 2), 6.0))
