"""Functions shared by the benchmarks."""
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from mmad.models import FitDetector


def median_seconds(calls: Sequence[Callable[[], object]],
                   repeats: int) -> list[float]:
    """Measure the median time of each call, after one call to warm up.

    The calls run in turn, so that other load on the machine affects all of
    them equally.
    """
    times = [[] for _ in calls]
    for _ in range(repeats + 1):
        for call, spent in zip(calls, times, strict=True):
            _wait()
            start = time.perf_counter()
            call()
            _wait()
            spent.append(time.perf_counter() - start)
    return [statistics.median(spent[1:]) for spent in times]


def fit(model: FitDetector, batches: Sequence[dict], number: int) -> None:
    """Fit a detector to batches in memory with ``number`` images in total."""
    model.begin_fit(number, len(batches[0]['inputs']))
    for _ in range(model.num_passes):
        for batch in batches:
            model.train_step(batch)
        model.end_pass()


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
