import ctypes
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Part = TypeVar('Part')

_SOFT = 1  # omp_pause_soft of OpenMP 5.0


def for_each(function: Callable[[Part], object],
             parts: Iterable[Part]) -> None:
    """Call a function for each part, in as many threads as PyTorch uses.

    Each thread, of which this one is the first, takes a part as soon as it is
    done with another. In the meantime, PyTorch uses one thread in each.

    Args:
        function (Callable): Is called with a part. It should release the
            global interpreter lock for most of the time.
        parts (Iterable): The parts.
    """
    parts = list(parts)
    left, threads = iter(parts), torch.get_num_threads()
    others = min(threads, len(parts)) - 1

    def work() -> None:
        for part in left:
            function(part)

    if others < 1:
        work()
        return
    _end_waiting_threads()
    try:
        torch.set_num_threads(1)
        with ThreadPoolExecutor(
                others, initializer=torch.set_num_threads,
                initargs=(1, )) as pool:
            found = [pool.submit(work) for _ in range(others)]
            work()
        for other in found:
            other.result()
    finally:
        # It is also the number of threads that start later.
        torch.set_num_threads(threads)


def _end_waiting_threads() -> None:
    """End the threads of PyTorch's operations until the next one.

    Those of GNU OpenMP wait for it in a loop, for milliseconds, and take the
    cores from other threads.
    """
    pause = _find_pause()
    if pause is not None:
        pause(_SOFT)


@cache
def _find_pause() -> Callable[[int], int] | None:
    try:
        # Only if it is loaded already.
        library = ctypes.CDLL('libgomp.so.1', mode=os.RTLD_NOLOAD)
        return library.omp_pause_resource_all
    except (AttributeError, OSError):
        # Another operating system or another OpenMP.
        return None
