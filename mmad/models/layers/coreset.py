import math
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import cast

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from mmad.errors import InputError

from .candidates import Candidates
from .device_greedy import device_greedy
from .held_patches import replicate_rows
from .nearest_centers import Key, NearestCenters
from .processes import all_gather, all_reduce_, world_size
from .row_distances import RowDistances

_NUM_CANDIDATES = 1024
_NOTED = 128  # picks from one note to the next

# Tells what an interrupted choice goes on from.
Tell = Callable[[], dict[str, Tensor]]
# The id of a row, and the distances that it was found by.
Pick = tuple[int, NearestCenters | RowDistances]


def random_projection(in_dim: int, out_dim: int, seed: int = 0) -> Tensor:
    """Draw a Johnson-Lindenstrauss projection, entries N(0, 1 / out_dim).

    Args:
        in_dim (int): Length of the rows to project.
        out_dim (int): Length of the projected rows.
        seed (int): Seed of the random numbers. Defaults to 0.

    Returns:
        Tensor: ``(in_dim, out_dim)`` float32, drawn on the CPU, so the same
        in every process.
    """
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(in_dim, out_dim, generator=generator)
    return matrix / math.sqrt(out_dim)


def project_by_image(rows: Tensor,
                     images: Tensor,
                     matrix: Tensor,
                     release: Callable[[], None] = lambda: None) -> Tensor:
    """Multiply rows by a matrix, image by image.

    A product may round differently for another number of rows, and what is
    chosen by it must not depend on how images are dealt out to processes.

    Args:
        rows (Tensor): ``(N, D)``, float32 or float16, on any device.
        images (Tensor): ``(N,)`` int64, the image of each row; the rows of
            one are side by side.
        matrix (Tensor): ``(D, d)``, on the device that computes.
        release (Callable): Is called after each image. Defaults to a function
            that does nothing.

    Returns:
        Tensor: ``(N, d)`` on the device of ``rows``.
    """
    counts = torch.unique_consecutive(images, return_counts=True)[1].tolist()
    projected = matrix.new_empty(
        len(rows), matrix.shape[1], device=rows.device)
    for source, target in zip(
            rows.split(counts), projected.split(counts), strict=True):
        target.copy_(source.to(matrix.device).float() @ matrix)
        release()
    return projected


def k_center_greedy(features: Tensor,
                    num_select: int,
                    first: int = 0,
                    row_ids: Tensor | None = None,
                    progress: bool = False,
                    centers: Tensor | None = None,
                    device: torch.device | None = None,
                    state: dict[str, Tensor] | None = None,
                    note: Callable[[Tell], None] | None = None) -> Tensor:
    """Choose rows greedily so that every row is near a chosen one.

    Starting with row ``first``, each step takes the row that is farthest in
    Euclidean distance from all taken before (PatchCore, arXiv 2106.08265,
    Algorithm 1, the greedy approximation of eq. 5); ties go to the lowest
    id. An earlier choice can be continued with other rows. The processes of a
    distributed run choose together, each with its own rows.

    On the CPU the same rows are found with much less work. Distances only
    shrink, so the next rows are all among a few candidates, the farthest
    rows, until the best of these is nearer than the rest; only then do the
    other rows meet all the new centers at once, in as many threads as torch
    uses, and centers that cannot be nearer are skipped. On GPUs,
    :func:`device_greedy` does likewise. Its distances are float32, those on
    the CPU float64, so the two may differ where distances are equal but for
    rounding. On either, any number of processes choose the same.

    Args:
        features (Tensor): ``(N, D)`` finite float32 rows of this process.
        num_select (int): Number of rows to take, over all processes.
        first (int): Id of the first row taken. Defaults to 0.
        row_ids (Tensor, optional): ``(N,)`` increasing int64 ids on the CPU;
            over all processes each id occurs once. Defaults to
            ``0 ... N - 1``, for one process.
        progress (bool): Whether to show a progress bar. Defaults to False.
        centers (Tensor, optional): ``(K, D)`` float32, chosen before, the
            same in all processes; ``first`` does not count then. Defaults to
            None.
        device (torch.device, optional): Where to compute. Rows in the CPU's
            memory are sent there in blocks. Defaults to None: where the
            features are.
        state (dict, optional): What the same choice has told in this process,
            and in the others at the same time. It goes on from there to the
            same end. Defaults to None.
        note (Callable, optional): Is called from time to time, in all
            processes alike, with a function that tells the state: the ids
            chosen so far, ``'chosen'``, and at most 12 bytes for each row, in
            tensors on the CPU. Defaults to None.

    Returns:
        Tensor: ``(num_select,)`` int64 ids on the CPU in order of selection,
        each at most once; the same in every process.

    Raises:
        InputError: ``num_select`` is out of range, or no row has the id
            ``first``.
    """
    if row_ids is None:
        row_ids = torch.arange(len(features))
    total = int(all_reduce_(torch.tensor(len(features))))
    if not 1 <= num_select <= total:
        raise InputError(f'cannot select {num_select} of {total} rows.')
    here = torch.nonzero(row_ids == first).flatten()
    if centers is None and not all_reduce_(torch.tensor(len(here))):
        raise InputError(f'the first row {first} is not one of the rows.')
    state = state or dict(chosen=row_ids[:0])
    chosen = state['chosen']
    done = len(chosen)
    if done == num_select:
        return chosen
    if done:
        more = replicate_rows(features, row_ids, chosen)
        centers = more if centers is None else torch.cat(
            [centers.to(more), more])
    device = device or features.device
    pick = _device_picks if device.type == 'cuda' else _host_picks
    picks = pick(features, num_select - done, first, row_ids, centers, state,
                 device)
    taken = torch.empty(num_select, dtype=torch.int64)
    taken[:done] = chosen
    bar = cast(
        Generator[Pick],
        track(
            picks,
            'Selecting the coreset',
            num_select,
            completed=done,
            disable=not progress))
    # Whatever happens in a note, no bar is left open.
    with closing(bar):
        for number, (row_id, distances) in enumerate(bar, done + 1):
            taken[number - 1] = row_id
            if note is not None and number % _NOTED == 0:
                note(partial(_tell, taken[:number], distances))
    return taken


def _tell(chosen: Tensor,
          distances: NearestCenters | RowDistances) -> dict[str, Tensor]:
    return dict(distances.state(), chosen=chosen.clone())


def _host_picks(features: Tensor, number: int, first: int, row_ids: Tensor,
                centers: Tensor | None, state: dict[str, Tensor],
                device: torch.device) -> Iterator[Pick]:
    num_before = 0 if centers is None else len(centers)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        nearest_centers = NearestCenters(features.cpu().numpy(),
                                         row_ids.numpy(), num_before + number,
                                         threads)
        # No row but the first comes first.
        positions = np.flatnonzero(row_ids.numpy() == first)
        others: Key = math.inf, -math.inf
        count = math.ceil(_NUM_CANDIDATES / world_size())
        if centers is not None:
            _add_all(nearest_centers, centers.cpu().numpy(), state)
            positions, others = nearest_centers.farthest(count)
            others = _greatest(others)
        candidates = Candidates(nearest_centers, positions)
        for _ in range(number):
            key = candidates.farthest()
            if key <= others:
                nearest_centers.add(candidates.centers)
                positions, others = nearest_centers.farthest(count)
                others = _greatest(others)
                candidates = Candidates(nearest_centers, positions)
                key = candidates.farthest()
            candidates.take()
            yield -int(key[1]), nearest_centers


def _add_all(nearest_centers: NearestCenters, centers: np.ndarray,
             state: dict[str, Tensor]) -> None:
    if len(state['chosen']):
        nearest_centers.restore(state, centers)
    if not nearest_centers.num_centers:
        # The first alone: the distances from it tell for most rows which of
        # the others are too far away.
        nearest_centers.add([centers[0]])
    for start in range(nearest_centers.num_centers, len(centers),
                       _NUM_CANDIDATES):
        nearest_centers.add(list(centers[start:start + _NUM_CANDIDATES]))


def _device_picks(features: Tensor, number: int, first: int, row_ids: Tensor,
                  centers: Tensor | None, state: dict[str, Tensor],
                  device: torch.device) -> Iterator[Pick]:
    rows, chosen = RowDistances(features, row_ids, device), state['chosen']
    if len(chosen):
        rows.restore(state)
    if centers is None:
        chosen = torch.tensor([first])
        centers = replicate_rows(features, row_ids, chosen)
        number -= 1
        yield first, rows
    chosen, centers = chosen.to(device), centers.to(device)
    for start in range(rows.num_centers, len(centers), _NUM_CANDIDATES):
        rows.add(centers[start:start + _NUM_CANDIDATES], chosen)
    for row_id in device_greedy(rows, number):
        yield row_id, rows


def _greatest(key: Key) -> Key:
    """The greatest of the keys of all processes."""
    if world_size() == 1:
        return key
    keys = all_gather(torch.tensor(key, dtype=torch.float64))
    return max(map(tuple, keys.tolist()))
