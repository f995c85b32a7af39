"""The selection of GPUs. On the CPU, it takes the same code path here."""
from collections import Counter

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from coreset_rows import KINDS, draw_rows
from torch.utils._python_dispatch import TorchDispatchMode

from mmad.models.layers import device_greedy as module
from mmad.models.layers import k_center_greedy
from mmad.models.layers.coreset import _device_picks

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a GPU with CUDA')
CPU = torch.device('cpu')


def choose(rows, number, first=0, ids=None, centers=None):
    ids = torch.arange(len(rows)) if ids is None else ids
    none = dict(chosen=ids[:0])
    picks = _device_picks(rows, number, first, ids, centers, none, CPU)
    return [row_id for row_id, _ in picks]


def naive(rows, number, first=0):
    """Algorithm 1 of the paper, literally, in the dtype of the rows."""
    nearest = rows.new_full((len(rows), ), torch.inf)
    chosen = []
    for _ in range(number):
        chosen.append(first)
        distance = torch.cdist(
            rows,
            rows[first, None],
            compute_mode='donot_use_mm_for_euclid_dist')[:, 0]
        nearest = torch.minimum(nearest, distance)
        nearest[first] = -1
        first = int(nearest.argmax())
    return chosen


@pytest.fixture(params=[1, 7, 100, 4096])
def num_candidates(request, monkeypatch):
    """The number of candidates, which does not change what is chosen."""
    monkeypatch.setattr(module, '_NUM_CANDIDATES', request.param)


@pytest.mark.parametrize('dim', [3, 130])
@pytest.mark.parametrize('kind', KINDS)
def test_equals_the_naive_loop(kind, dim, num_candidates):
    rows = draw_rows(kind, dim)
    for number in (1, 40, 300):
        assert choose(rows, number, 5) == naive(rows, number, 5)


@pytest.mark.parametrize('kind', KINDS)
def test_equals_the_naive_loop_in_float64(kind):
    # No two distances here are equal but for the rounding of float32.
    rows = draw_rows(kind)
    assert choose(rows, 300) == naive(rows.double(), 300)
    assert choose(rows, 300) == k_center_greedy(rows, 300).tolist()


def test_equal_rows_are_taken_once_each(num_candidates):
    assert choose(torch.ones(50, 200), 50, 7) == [7, *range(7), *range(8, 50)]


@pytest.mark.parametrize('number', [1, 40])
def test_an_earlier_choice_is_continued(number, num_candidates):
    rows = draw_rows('random')
    whole = torch.tensor(choose(rows, number + 100))
    ids = torch.arange(len(rows))
    rest = ids[~torch.isin(ids, whole[:number])]
    found = choose(rows[rest], 100, ids=rest, centers=rows[whole[:number]])
    assert found == whole[number:].tolist()


def _choose_shard(rank, shards, number, first):
    rows, ids = shards[rank]
    return torch.tensor(choose(rows, number, first, ids))


@pytest.mark.parametrize('kind', ['random', 'duplicated', 'grid'])
@pytest.mark.parametrize('sizes', [(90, 30), (50, 0, 70), (1, 40, 40, 39)])
def test_processes_choose_as_one(run_processes, kind, sizes, monkeypatch):
    monkeypatch.setattr(module, '_NUM_CANDIDATES', 20)
    rows = draw_rows(kind, number=120)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    shards = [(rows[ids], ids)
              for ids in (part.sort().values for part in order.split(sizes))]
    alone = choose(rows, 120, 33)
    assert alone == naive(rows, 120, 33)
    for chosen in run_processes(len(sizes), _choose_shard, shards, 120, 33):
        assert chosen.tolist() == alone


class Calls(TorchDispatchMode):
    """Counts the operators that are called."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **kwargs or {})


def test_the_host_does_not_wait_for_each_pick():
    rows = draw_rows('random', number=640)
    nearest = torch.full((640, ), 9.)
    with Calls() as calls:
        places, distances = module._pick(rows, nearest, 640)
    assert places.tolist() == naive(rows, 640)
    assert (distances.diff() <= 0).all()
    assert calls.counts['argmax'] == 640
    # A value that is read, and a result of a size that is not known before.
    assert not calls.counts['_local_scalar_dense'] + calls.counts['nonzero']


@needs_cuda
@pytest.mark.parametrize('kind', KINDS)
def test_cuda_equals_the_naive_loop(kind):
    rows = draw_rows(kind).cuda()
    assert k_center_greedy(rows, 300).tolist() == naive(rows, 300)
    # Rows that the GPU has no room for.
    found = k_center_greedy(rows.cpu(), 300, device=rows.device)
    assert found.tolist() == naive(rows, 300)


@needs_cuda
def test_cuda_does_not_wait_for_each_pick():
    rows = draw_rows('random').cuda()
    nearest = torch.full((300, ), 9., device=rows.device)
    torch.cuda.set_sync_debug_mode('error')
    try:
        places, _ = module._pick(rows, nearest, 300)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert places.tolist() == naive(rows, 300)


def _choose_on_gpu(rank, backend, folder, shards):
    torch.cuda.set_device(rank % torch.cuda.device_count())
    dist.init_process_group(
        backend,
        init_method=f'file://{folder / "rendezvous"}',
        rank=rank,
        world_size=len(shards))
    rows, ids = shards[rank]
    chosen = k_center_greedy(rows.cuda(), 120, 33, ids)
    torch.save(chosen, folder / f'{rank}.pt')
    dist.destroy_process_group()


@needs_cuda
@pytest.mark.parametrize('backend', ['gloo', 'nccl'])
def test_cuda_processes_choose_as_one(backend, tmp_path):
    if backend == 'nccl' and torch.cuda.device_count() < 2:
        pytest.skip('NCCL needs a GPU for each process')
    rows = draw_rows('random', number=120)
    ids = torch.arange(120)
    shards = [(rows[part], ids[part]) for part in (ids % 3 > 0, ids % 3 == 0)]
    # CUDA does not work in forks.
    mp.start_processes(
        _choose_on_gpu, (backend, tmp_path, shards), 2, start_method='spawn')
    for rank in range(2):
        chosen = torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        assert chosen.tolist() == naive(rows.cuda(), 120, 33)
