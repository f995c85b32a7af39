from collections.abc import Iterator

from mmengine.dataset import (
    ClassBalancedDataset,
    ConcatDataset,
    DefaultSampler,
    RepeatDataset,
)

from mmad.errors import InputError
from mmad.registry import DATA_SAMPLERS

from .anomaly_dataset import AnomalyDataset

# They do not take an index beyond their length, or forget the epoch in it.
_NOT_FOR = (AnomalyDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset)


@DATA_SAMPLERS.register_module()
class RunningIndexSampler(DefaultSampler):
    """Sampler whose indices run on from epoch to epoch.

    Where MMEngine's sampler deals out 0 to N - 1 in every epoch, this one
    deals out N to 2 N - 1 in the second epoch and so forth. A data set that
    derives its random numbers from the index so has new ones in every epoch,
    the same after a resumption, and the same for any number of workers.

    Args:
        dataset (Sized): A data set that takes any index, such as
            :class:`~mmad.datasets.NaturalImages`.
        shuffle (bool): Draw in a random order. Defaults to True.
        seed (int, optional): Seed of the order; it must be the same in all
            processes. Defaults to None: a common random one.

    Raises:
        InputError: The data set takes only indices below its length.
    """

    def __init__(self,
                 dataset,
                 shuffle: bool = True,
                 seed: int | None = None) -> None:
        if isinstance(dataset, _NOT_FOR):
            raise InputError(
                'the RunningIndexSampler deals out indices beyond the length '
                f'of the data set, which the {type(dataset).__name__} does '
                'not take; use DefaultSampler.')
        super().__init__(dataset, shuffle, seed)

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * len(self.dataset)
        return iter([first + index for index in super().__iter__()])
