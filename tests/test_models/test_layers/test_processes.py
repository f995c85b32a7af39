import pytest
import torch

from mmad.models.layers import processes


def values(rank):
    generator = torch.Generator().manual_seed(rank)
    return torch.randint(-9, 9, (3, 4), generator=generator)


def exchange(rank, dtype, transposed):

    def own():
        tensor = values(rank).to(dtype)
        return tensor.T.contiguous().T if transposed else tensor

    summed, sent = own(), own()
    assert processes.all_reduce_(summed) is summed
    assert processes.broadcast_(sent, source=1) is sent
    processes.barrier()
    return dict(
        rank=processes.rank(),
        world_size=processes.world_size(),
        summed=summed,
        sent=sent,
        gathered=processes.all_gather(own()),
        count=processes.all_reduce_(torch.tensor(rank + 1)),
        rows=processes.all_gather_rows(own()[:rank]))


# A tensor that is not contiguous is sent as a copy, like one on a device that
# the backend does not know.
@pytest.mark.parametrize(('dtype', 'transposed'), [(torch.float32, False),
                                                   (torch.float64, True),
                                                   (torch.int64, True)])
@pytest.mark.parametrize('world', [2, 3])
def test_several_processes(run_processes, world, dtype, transposed):
    expected = torch.stack([values(rank) for rank in range(world)]).to(dtype)
    found = run_processes(world, exchange, dtype, transposed)
    for rank, result in enumerate(found):
        assert result['rank'] == rank
        assert result['world_size'] == world
        assert torch.equal(result['summed'], expected.sum(0).to(dtype))
        assert torch.equal(result['sent'], expected[1])
        assert torch.equal(result['gathered'], expected)
        assert result['count'] == world * (world + 1) // 2
        assert torch.equal(result['rows'],
                           torch.cat([expected[i, :i] for i in range(world)]))


def check_alone():
    tensor = torch.arange(6.).view(2, 3)
    before = tensor.clone()
    assert processes.world_size() == 1
    assert processes.rank() == 0
    assert processes.all_reduce_(tensor) is tensor
    assert processes.broadcast_(tensor) is tensor
    assert torch.equal(processes.all_gather(tensor), before[None])
    assert torch.equal(processes.all_gather_rows(tensor), before)
    assert torch.equal(tensor, before)
    processes.barrier()


def test_without_a_group():
    check_alone()


def alone_in_group(rank):
    check_alone()


def test_group_of_one(run_processes):
    run_processes(1, alone_in_group)


def with_gradients(rank):
    tensor = torch.full((2, ), float(rank), requires_grad=True)
    assert not processes.all_gather(tensor).requires_grad
    moved = tensor * 1
    processes.all_reduce_(moved)
    assert moved.tolist() == [1, 1]


def test_gradients_are_not_followed(run_processes):
    run_processes(2, with_gradients)
