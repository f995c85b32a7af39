from collections.abc import Iterable, Iterator
from itertools import islice

from torch.utils.data import DataLoader


class RemainingBatches:
    """A batch sampler without its first batches, which are not loaded.

    Args:
        batches (Iterable): The batch sampler.
        start (int): Number of batches to leave out.
    """

    def __init__(self, batches: Iterable[list[int]], start: int) -> None:
        self.batches = batches
        self.start = start
        # Where hooks look for it.
        self.sampler = batches.sampler  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self.batches) - self.start  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[list[int]]:
        return islice(self.batches, self.start, None)


def skip_batches(loader: DataLoader, start: int) -> DataLoader:
    """Return a data loader that begins with a later batch.

    Args:
        loader (DataLoader): Data loader with a batch size.
        start (int): Number of batches to leave out.
    """
    return DataLoader(
        loader.dataset,
        batch_sampler=RemainingBatches(
            loader.batch_sampler,  # type: ignore[arg-type]
            start),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor)
