import math

import pytest
import torch

from mmad.models.layers.covering_gaps import covering_bound, covering_gaps


def draw(number, dim, seed, ties):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(number, dim, generator=generator)
    return (2 * rows).round() if ties else rows


def gaps_by_brute_force(rows):
    distances = torch.cdist(
        rows.double(),
        rows.double(),
        compute_mode='donot_use_mm_for_euclid_dist')
    nearest, gaps, row = torch.full((len(rows), ), math.inf), [], 0
    gaps = torch.full((len(rows), ), -1.0, dtype=torch.float64)
    nearest = nearest.double()
    for _ in rows:
        gaps[row] = nearest[row]
        nearest = torch.minimum(nearest, distances[row])
        nearest[gaps >= 0] = -1
        row = int(nearest.argmax())
    return gaps


@pytest.mark.parametrize('scale', [1, 1e-22, 1e25])
@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize(('number', 'dim'), [(1, 3), (2, 1), (40, 2), (150, 7),
                                             (90, 33)])
def test_gaps(number, dim, ties, scale):
    for seed in range(5):
        rows = scale * draw(number, dim, seed, ties)
        gaps, left = covering_gaps(rows, -math.inf, number)
        torch.testing.assert_close(
            gaps, gaps_by_brute_force(rows), rtol=1e-7, atol=0)
        assert left == 0


@pytest.mark.parametrize('ties', [False, True])
def test_rows_above_a_gap_cover_the_others(ties):
    rows = draw(120, 4, 0, ties)
    whole = covering_gaps(rows, -math.inf, 120)[0]
    for gap in whole.unique()[:-1].tolist():
        gaps, left = covering_gaps(rows, gap, 120)
        kept = whole > gap
        assert torch.equal(gaps[kept], whole[kept])
        assert (gaps[~kept] == -math.inf).all()
        radius = torch.cdist(rows.double(), rows[kept].double()).amin(1).max()
        assert left == pytest.approx(float(radius), abs=1e-6)
        assert left <= gap * (1 + 1e-12)


def test_limit():
    rows = draw(50, 3, 0, False)
    whole = covering_gaps(rows, -math.inf, 50)[0].sort(descending=True).values
    gaps, left = covering_gaps(rows, -math.inf, 8)
    assert torch.equal(gaps.sort(descending=True).values[:8], whole[:8])
    assert (gaps > -math.inf).sum() == 8
    assert left == whole[8]


def test_no_rows():
    gaps, left = covering_gaps(torch.empty(0, 3), -math.inf, 4)
    assert gaps.shape == (0, )
    assert left == 0


def test_bound_by_hand():
    chosen = torch.tensor([[0.0], [4.0], [1.0]])
    assert covering_bound(chosen, 0.5) == (1.5, 3)
    assert covering_bound(chosen[[0, 1, 1]], 0.5) == (0.5, math.inf)


def test_bound_against_the_best_points_on_a_line():
    # On a line, the best radius is known: intervals from the left.
    for seed in range(20):
        rows = draw(30, 1, seed, False)
        gaps, _ = covering_gaps(rows, -math.inf, 30)
        part = rows[gaps > gaps.sort(descending=True).values[14]]
        own = covering_gaps(part, -math.inf, len(part))[0]
        chosen = part[own.argsort(descending=True)[:5]]
        thinning = float(torch.cdist(rows, part).amin(1).max())
        radius, factor = covering_bound(chosen, thinning)
        assert torch.cdist(rows, chosen[:-1]).amin(1).max() <= radius + 1e-6
        assert radius <= factor * best_radius(rows[:, 0], 4) + 1e-6


def best_radius(points, number):
    points = points.sort().values.tolist()
    widths = sorted(b - a for i, a in enumerate(points) for b in points[i:])
    return next(
        width for width in widths if intervals(points, width) <= number) / 2


def intervals(points, width):
    count, end = 0, -math.inf
    for point in points:
        if point > end:
            count, end = count + 1, point + width
    return count
