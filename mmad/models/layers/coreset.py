"""Greedy k-center selection (PatchCore, Algorithm 1), exact and pruned."""
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.distributed as dist
from rich.progress import track
from torch import Tensor

from mmad.errors import InputError

from .clusters import Clusters, Key, Pool

_POOL = 1024


def random_projection(in_dim: int, out_dim: int, seed: int = 0) -> Tensor:
    """Gaussian Johnson-Lindenstrauss projection, entries N(0, 1 / out_dim).

    Returns:
        Tensor: ``(in_dim, out_dim)`` float32, drawn on the CPU, so the same
        in every process.
    """
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(in_dim, out_dim, generator=generator)
    return matrix / math.sqrt(out_dim)


def k_center_greedy(features: Tensor,
                    num_select: int,
                    first: int = 0,
                    row_ids: Tensor | None = None,
                    distributed: bool = False,
                    progress: bool = False) -> Tensor:
    """Choose rows greedily so that every row is near a chosen one.

    Starting with row ``first``, each step takes the row that is farthest in
    Euclidean distance from all taken before (PatchCore, arXiv 2106.08265,
    Algorithm 1); ties go to the lowest id.

    On the CPU two facts save most of the work and change nothing else. The
    next rows taken all come from a small pool of the farthest ones until its
    best falls behind the rest, since distances only shrink; so the other rows
    meet many new centers at once, in as many threads as torch uses. And with
    ``d`` the distance of a row to its nearest center ``a``, a new center
    ``c`` with ``|c - a| >= 2 d`` is no nearer (Elkan, ICML 2003). Rows on the
    GPU take the plain loop without host synchronization.

    Args:
        features (Tensor): ``(N, D)`` finite float32 rows. With
            ``distributed``, the rows of this process alone.
        num_select (int): How many rows to take, over all processes.
        first (int): Id of the first row taken. Defaults to 0.
        row_ids (Tensor, optional): ``(N,)`` increasing int64 ids on the CPU;
            over all processes each id occurs once. Defaults to
            ``0 ... N - 1``.
        distributed (bool): Choose together with the other processes of the
            default group, which hold the other rows. Defaults to False.
        progress (bool): Show a progress bar. Defaults to False.

    Returns:
        Tensor: ``(num_select,)`` int64 ids on the CPU in order of selection,
        each at most once; the same in every process.

    Raises:
        InputError: ``num_select`` is out of range, or no row has the id
            ``first``.
    """
    if row_ids is None:
        row_ids = torch.arange(len(features))
    processes = _Processes(distributed)
    total = processes.total(len(features))
    if not 1 <= num_select <= total:
        raise InputError(f'cannot select {num_select} of {total} rows.')
    here = torch.nonzero(row_ids == first).flatten().tolist()
    if not processes.total(len(here)):
        raise InputError(f'the first row {first} is not one of the rows.')
    steps = track(
        range(num_select), 'Selecting the coreset', disable=not progress)
    if features.is_cuda and not distributed:
        return row_ids[_plain_greedy(features, here[0], steps)]

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        clusters = Clusters(features.cpu().numpy(), row_ids.numpy(),
                            num_select, threads)
        pool = Pool(clusters, here)
        floor = math.inf, -math.inf  # beneath the first row alone
        chosen = []
        for _ in steps:
            key, row, ours = processes.elect(*pool.farthest())
            if key <= floor:
                clusters.add(pool.centers)
                members, floor = clusters.farthest(_POOL)
                pool, floor = Pool(clusters, members), processes.top(floor)
                key, row, ours = processes.elect(*pool.farthest())
            chosen.append(-int(key[1]))
            pool.add(row, ours)
    return torch.tensor(chosen)


def _plain_greedy(features: Tensor, first: int, steps) -> Tensor:
    index = torch.tensor(first, device=features.device)
    nearest = features.new_full((len(features), ), math.inf)
    chosen = []
    for _ in steps:
        chosen.append(index)
        # Without the expansion into products there is neither cancellation
        # nor a temporary of the size of `features`.
        distance = torch.cdist(
            features,
            features[index, None],
            compute_mode='donot_use_mm_for_euclid_dist')
        torch.minimum(nearest, distance[:, 0], out=nearest)
        nearest[index] = -1
        index = nearest.argmax()
    return torch.stack(chosen).cpu()


class _Processes:
    """Sums and elections over the processes; alone, both are trivial."""

    def __init__(self, distributed: bool) -> None:
        self.several = distributed and dist.get_world_size() > 1
        self.device = 'cuda' if self.several and dist.get_backend(
        ) == 'nccl' else 'cpu'

    def total(self, count: int) -> int:
        if not self.several:
            return count
        value = torch.tensor(count, device=self.device)
        dist.all_reduce(value)
        return int(value)

    def top(self, key: Key) -> Key:
        """The greatest key of all processes."""
        return max(map(tuple, self._gather(key))) if self.several else key

    def elect(self, key: Key,
              row: np.ndarray) -> tuple[Key, np.ndarray, bool]:
        """Find the row with the greatest key.

        Returns:
            tuple: Its key, its values ``(D,)`` and whether it is ours.
        """
        if not self.several:
            return key, row, True
        ballots = self._gather([*key, *row])
        winner = max(range(len(ballots)), key=lambda i: tuple(ballots[i, :2]))
        return (tuple(ballots[winner, :2]),
                ballots[winner, 2:].astype(np.float32),
                winner == dist.get_rank())

    def _gather(self, values) -> np.ndarray:
        mine = torch.tensor([*values], dtype=torch.float64)
        everyones = [
            torch.empty_like(mine, device=self.device)
            for _ in range(dist.get_world_size())
        ]
        dist.all_gather(everyones, mine.to(self.device))
        return torch.stack(everyones).cpu().numpy()
