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

# These data sets refuse an index beyond their length, or reduce it so that
# every epoch is the same.
_NOT_FOR = (AnomalyDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset)


@DATA_SAMPLERS.register_module()
class RunningIndexSampler(DefaultSampler):
    """Sampler whose indices continue from one epoch to the next.

    The indices are 0 to N - 1 in the first epoch, N to 2 N - 1 in the second
    epoch, and so on. A data set that derives its random numbers from the
    index has new random numbers in every epoch. They are the same after
    resuming, and for any number of workers.

    Args:
        dataset (Sized): A data set that accepts any index, such as
            :class:`~mmad.datasets.NaturalImages`.
        shuffle (bool): Shuffle the indices. Defaults to True.
        seed (int, optional): Seed of the order, the same in all processes.
            Defaults to None: a random seed that all processes share.

    Raises:
        InputError: If the data set only accepts indices below its length.
    """

    def __init__(self,
                 dataset,
                 shuffle: bool = True,
                 seed: int | None = None) -> None:
        if isinstance(dataset, _NOT_FOR):
            raise InputError(
                'the RunningIndexSampler yields indices beyond the length of '
                f'the data set, which the {type(dataset).__name__} does not '
                'accept; use DefaultSampler.')
        super().__init__(dataset, shuffle, seed)

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * len(self.dataset)
        return iter([first + index for index in super().__iter__()])
