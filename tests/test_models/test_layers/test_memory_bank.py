import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from mmad.errors import InputError
from mmad.models.layers.memory_bank import MemoryBank

APPROXIMATE = ['HNSW32', 'IVF4,Flat']


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filled(**kwargs):
    bank = MemoryBank(**kwargs)
    bank.store(draw(600, 8))
    return bank


@pytest.mark.parametrize('backend', ['torch', 'faiss'])
@pytest.mark.parametrize('k', [1, 5])
def test_search_equals_brute_force(backend, k):
    queries = draw(40, 8, seed=1)
    distances, index = filled(backend=backend)(queries, k)
    expected = torch.cdist(queries.double(),
                           draw(600, 8).double()).topk(
                               k, largest=False)
    assert torch.equal(index, expected.indices)
    torch.testing.assert_close(
        distances.double(), expected.values, rtol=1e-6, atol=0)


def test_back_ends_give_the_same_bits():
    queries = draw(40, 8, seed=1)
    ours, theirs = (
        filled(backend=backend)(queries, 3) for backend in ('torch', 'faiss'))
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize('backend', ['torch', 'faiss'])
def test_rows_find_themselves(backend):
    bank = filled(backend=backend)
    distances, index = bank(bank.rows)
    assert torch.equal(index[:, 0], torch.arange(600))
    assert distances.eq(0).all()


@pytest.mark.parametrize('kwargs', [
    dict(),
    dict(backend='faiss'), *(dict(backend='faiss', index=index)
                             for index in APPROXIMATE)
])
def test_state_dict_round_trip(tmp_path, kwargs):
    bank = filled(**kwargs)
    torch.save(bank.state_dict(), tmp_path / 'bank.pth')
    other = MemoryBank(**kwargs)
    other.store(draw(30, 8, seed=5))
    other.load_state_dict(
        torch.load(tmp_path / 'bank.pth', weights_only=True), strict=True)
    assert len(other) == 600
    queries = draw(40, 8, seed=1)
    for mine, theirs in zip(bank(queries, 3), other(queries, 3)):
        assert torch.equal(mine, theirs)


def test_approximate_index_is_part_of_the_state():
    state = filled(backend='faiss', index='HNSW32').state_dict()
    assert len(state['index_bytes']) > 0
    assert len(filled(backend='faiss').state_dict()['index_bytes']) == 0
    assert set(state) == {'rows', 'index_bytes'}


@pytest.mark.parametrize('index', APPROXIMATE)
def test_approximate_search(index):
    bank = filled(backend='faiss', index=index)
    queries = draw(100, 8, seed=1)
    distances, found = bank(queries)
    exact, nearest = filled()(queries)
    assert (distances >= exact).all()
    assert (found == nearest).float().mean() > 0.9


def test_nprobe_reaches_the_index():
    queries, (exact, _) = draw(100, 8, seed=1), filled()(draw(100, 8, seed=1))
    few = filled(backend='faiss', index='IVF16,Flat', nprobe=1)
    many = filled(backend='faiss', index='IVF16,Flat', nprobe=16)
    assert torch.equal(many(queries)[0], exact)
    assert not torch.equal(few(queries)[0], exact)


def test_too_few_neighbors_in_the_lists():
    bank = filled(backend='faiss', index='IVF16,Flat', nprobe=1)
    with pytest.raises(InputError, match='raise `nprobe`'):
        bank(draw(3, 8, seed=1), 400)


def test_storing_again_replaces():
    bank = filled(backend='faiss', index='HNSW32')
    rows = draw(50, 3, seed=2)
    bank.store(rows)
    distances, index = bank(rows)
    assert len(bank) == 50
    assert distances.eq(0).all()
    assert torch.equal(index[:, 0], torch.arange(50))


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(backend='annoy'), 'must be "torch" or "faiss", got "annoy"'),
    (dict(index='HNSW32'), 'index "HNSW32" needs backend="faiss"'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(InputError, match=message):
        MemoryBank(**kwargs)


@pytest.mark.parametrize('backend', ['torch', 'faiss'])
@pytest.mark.parametrize('k', [0, -1, 1.5])
def test_wrong_number_of_neighbors(backend, k):
    with pytest.raises(InputError, match='`k` must be a whole number, at le'):
        filled(backend=backend)(draw(40, 8, seed=1), k)


def test_faiss_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'faiss', None)
    with pytest.raises(InputError, match='pip install faiss-cpu'):
        MemoryBank(backend='faiss')


@pytest.mark.skipif(not Path('/proc/self/maps').exists(), reason='no /proc')
def test_an_index_opens_no_file(tmp_path):
    faiss = pytest.importorskip('faiss')
    rows = draw(600, 8).numpy()
    index = faiss.index_factory(8, 'IVF4,Flat')
    index.train(rows)
    lists = faiss.OnDiskInvertedLists(4, index.code_size,
                                      str(tmp_path / 'secret.bin'))
    index.replace_invlists(lists)
    index.add(rows)
    state = filled(backend='faiss', index='IVF4,Flat').state_dict()
    content = faiss.serialize_index(index)
    del index, lists
    state['index_bytes'] = torch.from_numpy(content)
    bank = MemoryBank(backend='faiss', index='IVF4,Flat')
    bank.load_state_dict(state)
    queries = draw(40, 8, seed=1)
    found = bank(queries)
    assert 'secret.bin' not in Path('/proc/self/maps').read_text()
    expected = filled(backend='faiss', index='IVF4,Flat')(queries)
    assert torch.equal(found[0], expected[0])


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(),
        dict(backend='faiss'),
        # All lists are visited, so that the search is exact.
        dict(backend='faiss', index='IVF4,Flat', nprobe=4)
    ])
@pytest.mark.parametrize('k', [1, 5])
def test_left_out_rows_are_ignored(kwargs, k):
    bank = filled(**kwargs)
    bank.left_out = [7, 0, 599, 7]
    queries = bank.rows[[8, 7, 0, 0, 599, 598, 7, 9]]
    distances, index = bank(queries, k)
    for i, query in enumerate(queries):
        image = bank.left_out[i // 2]
        exact = (query.double() - bank.rows.double()).norm(dim=1)
        exact[image] = torch.inf
        expected = exact.topk(k, largest=False)
        assert torch.equal(index[i], expected.indices)
        torch.testing.assert_close(distances[i].double(), expected.values)


@pytest.mark.parametrize('kwargs', [dict(), dict(backend='faiss')])
def test_too_few_rows_without_those_left_out(kwargs):
    bank = MemoryBank(**kwargs)
    bank.store(draw(3, 8))
    bank.left_out = [1]
    assert bank(draw(1, 8), 2)[1].sort().values.tolist() == [[0, 2]]
    with pytest.raises(InputError, match='of image 1, 2 rows are left'):
        bank(draw(1, 8), 3)


def test_lists_hold_too_few_others():
    bank = filled(backend='faiss', index='IVF16,Flat', nprobe=1)
    bank.left_out = [0]
    with pytest.raises(InputError, match='raise `nprobe`'):
        bank(bank.rows[:1], 400)


def fit(bank, rows, order=range(20), batch=6):
    bank.num_images = len(rows)
    bank.reset()
    order = list(order)
    for start in range(0, len(order), batch):
        numbers = order[start:start + batch]
        bank.update(rows[numbers], numbers)
    bank.finalize()
    return bank


@pytest.mark.parametrize('order', [range(20), range(19, -1, -1)])
def test_one_row_for_each_image(order):
    rows = draw(20, 8)
    bank = MemoryBank()
    for _ in range(2):
        assert torch.equal(fit(bank, rows, order).rows, rows)
        rows = rows + 1
    bank.reset()
    assert not bank.is_fitted


def _shard(rank, rows):
    world = dist.get_world_size()
    bank = MemoryBank()
    bank.reset()
    numbers = list(range(rank, len(rows), world))
    bank.update(rows[numbers], numbers)
    bank.finalize()
    return bank.rows


@pytest.mark.parametrize('world', [2, 3])
def test_all_processes_have_all_rows(run_processes, world):
    rows = draw(7, 5)
    for found in run_processes(world, _shard, rows):
        assert torch.equal(found, rows)
