import pytest
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader

from mmad.engine.hooks.remaining_batches import skip_batches


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('batch_size', [1, 3, 4])
@pytest.mark.parametrize('workers', [0, 2])
def test_the_other_batches_follow(shuffle, batch_size, workers):
    sampler = DefaultSampler(range(11), shuffle=shuffle, seed=1)
    loader = DataLoader(
        range(11), batch_size, sampler=sampler, num_workers=workers)
    sampler.set_epoch(3)
    whole = [batch.tolist() for batch in loader]
    for start in range(len(whole) + 1):
        rest = skip_batches(loader, start)
        assert len(rest) == len(whole) - start
        assert [batch.tolist() for batch in rest] == whole[start:]
        # Where MMEngine sets the epoch.
        assert rest.batch_sampler.sampler is sampler
        assert rest.num_workers == workers
