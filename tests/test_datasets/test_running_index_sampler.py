import pytest

from mmad.registry import DATA_SAMPLERS


@pytest.mark.parametrize('shuffle', [True, False])
def test_draws_go_on_over_the_epochs(shuffle):
    sampler = DATA_SAMPLERS.build(
        dict(
            type='RunningIndexSampler',
            dataset=range(7),
            shuffle=shuffle,
            seed=0))
    assert len(sampler) == 7
    draws = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        draws.append(list(sampler))
        assert sorted(draws[-1]) == list(range(7 * epoch, 7 * epoch + 7))
    assert (draws[0] == sorted(draws[0])) is not shuffle
    # A resumed run sets the epoch alone.
    sampler.set_epoch(1)
    assert list(sampler) == draws[1]
