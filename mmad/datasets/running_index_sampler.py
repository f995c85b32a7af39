from collections.abc import Iterator

from mmengine.dataset import DefaultSampler

from mmad.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class RunningIndexSampler(DefaultSampler):
    """Numbers draws on over the epochs.

    Where MMEngine's sampler deals out 0 to N - 1 in every epoch, this one
    goes on with N to 2 N - 1 in the second and so forth. A data set that
    derives its random numbers from that one so has new ones in every epoch,
    the same after a resumption, and the same for any number of workers.

    Args:
        dataset (Sized): The data set.
        shuffle (bool): Draw in a random order. Defaults to True.
        seed (int, optional): Of the order; must be the same in all processes.
            Defaults to None: a common random one.
    """

    def __init__(self, dataset, shuffle: bool = True,
                 seed: int | None = None) -> None:
        super().__init__(dataset, shuffle, seed)

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * len(self.dataset)
        return iter([first + index for index in super().__iter__()])
