"""Rows to choose a coreset from."""
import numpy as np
import torch

KINDS = ['random', 'clustered', 'duplicated', 'grid', 'offset']
# Squares, or sums of them, leave the range of float32.
EXTREMES = ['huge', 'tiny', 'scales']


def draw_rows(kind, dim=16, number=300):
    """Rows ``(number, dim)`` of one of the `KINDS` or `EXTREMES`."""
    rng = np.random.default_rng(dim)
    rows = rng.normal(size=(number, dim))
    if kind == 'clustered':
        rows = 10 * rng.normal(size=(6, dim))[rng.integers(6, size=number)]
        rows += 0.05 * rng.normal(size=rows.shape)
    elif kind == 'duplicated':
        rows = rows[rng.integers(number // 4, size=number)]
    elif kind == 'grid':
        rows = rng.integers(0, 3, rows.shape)
    elif kind == 'offset':
        rows = rows + 1e4
    elif kind == 'huge':
        rows = np.clip(1e38 * rows, -3e38, 3e38)
    elif kind == 'tiny':
        rows = 1e-22 * rows
    elif kind == 'scales':
        # Float64 keeps nothing of a value beside one of the next scale.
        rows = rows * 10.**rng.choice([-40, -20, 0, 20], (number, 1))
    return torch.from_numpy(rows.astype(np.float32))


def squared(rows, centers):
    """Squared distances ``(N, K)`` in float64."""
    rows, centers = (np.asarray(part, np.float64) for part in (rows, centers))
    return np.square(rows[:, None] - centers).sum(2)
