import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from mmad.errors import InputError

from .candidates import Candidates
from .held_patches import replicate_rows
from .nearest_centers import Key, NearestCenters
from .processes import all_gather, all_reduce_, rank, world_size

_NUM_CANDIDATES = 1024
_NOTED = 128  # picks from one note to the next


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


def project_by_image(rows: Tensor, images: Tensor, matrix: Tensor) -> Tensor:
    """Multiply rows by a matrix, image by image.

    A product may round differently for another number of rows, and what is
    chosen by it must not depend on how images are dealt out to processes.

    Args:
        rows (Tensor): ``(N, D)``.
        images (Tensor): ``(N,)`` int64, ascending, the image of each row.
        matrix (Tensor): ``(D, d)``.

    Returns:
        Tensor: ``(N, d)``.
    """
    counts = torch.unique_consecutive(images, return_counts=True)[1].tolist()
    projected = torch.empty(len(rows), matrix.shape[1])
    for source, target in zip(
            rows.split(counts), projected.split(counts), strict=True):
        torch.mm(source, matrix, out=target)
    return projected


def k_center_greedy(features: Tensor,
                    num_select: int,
                    first: int = 0,
                    row_ids: Tensor | None = None,
                    progress: bool = False,
                    centers: Tensor | None = None,
                    chosen: Tensor | None = None,
                    note: Callable[[Tensor], None] | None = None) -> Tensor:
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
    uses, and centers that cannot be nearer are skipped. Rows on the GPU, in
    one process, take the plain loop without host synchronization.

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
        chosen (Tensor, optional): ``(k,)`` ids that the same choice has
            begun with, as ``note`` got them. It goes on from these to the
            same end. Defaults to None.
        note (Callable, optional): Is called from time to time, in all
            processes alike, with the ids chosen so far. Defaults to None.

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
    chosen = row_ids[:0] if chosen is None else chosen
    done = len(chosen)
    if done == num_select:
        return chosen
    if done:
        more = replicate_rows(features.cpu(), row_ids, chosen)
        centers = more if centers is None else torch.cat([centers.cpu(), more])
    steps = track(
        range(done, num_select),
        'Selecting the coreset',
        num_select,
        completed=done,
        disable=not progress)
    if features.is_cuda and world_size() == 1:
        start = int(here) if centers is None else 0
        return row_ids[_plain_greedy(
            features, start, steps, centers,
            torch.searchsorted(row_ids, chosen), note
            and (lambda positions: note(row_ids[positions])))]

    num_before = 0 if centers is None else len(centers)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        nearest_centers = NearestCenters(features.cpu().numpy(),
                                         row_ids.numpy(),
                                         num_before + num_select - done,
                                         threads)
        nearest_centers.exclude(chosen.numpy())
        # No row but the first comes first.
        positions, others = here.numpy(), (math.inf, -math.inf)
        if centers is not None:
            _add_all(nearest_centers, centers.cpu().numpy())
            positions, others = nearest_centers.farthest(_NUM_CANDIDATES)
            others = _greatest(others)
        candidates = Candidates(nearest_centers, positions)
        taken = torch.empty(num_select, dtype=torch.int64)
        taken[:done] = chosen
        for step in steps:
            key, center, is_own = _elect(*candidates.farthest())
            if key <= others:
                nearest_centers.add(candidates.centers)
                positions, others = nearest_centers.farthest(_NUM_CANDIDATES)
                candidates = Candidates(nearest_centers, positions)
                others = _greatest(others)
                key, center, is_own = _elect(*candidates.farthest())
            taken[step] = -int(key[1])
            candidates.add(center, is_own)
            if note is not None and (step + 1) % _NOTED == 0:
                note(taken[:step + 1])
    return taken


def _add_all(nearest_centers: NearestCenters, centers: np.ndarray) -> None:
    # The first alone: the distances from it tell for most rows which of the
    # others are too far away.
    nearest_centers.add([centers[0]])
    for start in range(1, len(centers), _NUM_CANDIDATES):
        nearest_centers.add(list(centers[start:start + _NUM_CANDIDATES]))


def _plain_greedy(features: Tensor,
                  first: int,
                  steps,
                  centers: Tensor | None = None,
                  before: Tensor | None = None,
                  note: Callable[[Tensor], None] | None = None) -> Tensor:
    if before is None:
        before = torch.empty(0, dtype=torch.int64)
    index = torch.tensor(first, device=features.device)
    nearest = features.new_full((len(features), ), math.inf)
    if centers is not None:
        for block in centers.to(features).split(_NUM_CANDIDATES):
            torch.minimum(nearest, _distances(features, block), out=nearest)
        nearest[before.to(nearest.device)] = -1
        index = nearest.argmax()
    chosen = []
    for step in steps:
        chosen.append(index)
        torch.minimum(
            nearest, _distances(features, features[index, None]), out=nearest)
        nearest[index] = -1
        index = nearest.argmax()
        if note is not None and (step + 1) % _NOTED == 0:
            before, chosen = torch.cat([before, torch.stack(chosen).cpu()]), []
            note(before)
    last = torch.stack(chosen).cpu() if chosen else before[:0]
    return torch.cat([before, last])


def _distances(features: Tensor, centers: Tensor) -> Tensor:
    """Distances from the nearest of some centers.

    Without the expansion into products there is neither cancellation nor a
    temporary of the size of `features`, and a distance does not depend on
    which other centers there are.
    """
    return torch.cdist(
        features, centers, compute_mode='donot_use_mm_for_euclid_dist').amin(1)


def _greatest(key: Key) -> Key:
    """The greatest of the keys of all processes."""
    if world_size() == 1:
        return key
    keys = all_gather(torch.tensor(key, dtype=torch.float64))
    return max(map(tuple, keys.tolist()))


def _elect(key: Key, row: np.ndarray) -> tuple[Key, np.ndarray, bool]:
    """Find the row with the greatest key of all processes.

    Args:
        key (Key): The greatest key in this process.
        row (np.ndarray): ``(D,)`` float32 values of that row.

    Returns:
        tuple: The key, its row, and whether that is a row of this process.
    """
    if world_size() == 1:
        return key, row, True
    offers = all_gather(torch.tensor([*key, *row], dtype=torch.float64))
    keys = [tuple(offer[:2].tolist()) for offer in offers]
    winner = max(range(len(keys)), key=keys.__getitem__)
    return keys[winner], offers[winner, 2:].float().numpy(), winner == rank()
