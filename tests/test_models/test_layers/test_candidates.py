from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from coreset_rows import KINDS, draw_rows, squared

from mmad.models.layers.candidates import Candidates
from mmad.models.layers.nearest_centers import NO_ROW, NearestCenters


@pytest.fixture
def make():
    with ThreadPoolExecutor(1) as threads:
        yield lambda rows: NearestCenters(rows, np.arange(len(rows)), 9,
                                          threads)


@pytest.mark.parametrize('kind', KINDS)
def test_candidates_are_taken_as_by_a_search_of_all(kind, make):
    rows = draw_rows(kind).numpy()
    found = make(rows)
    found.add([rows[0]])
    found.exclude(0)
    nearest = squared(rows, rows[:1])[:, 0]
    nearest[0] = -1
    # All of them, so that they are never used up.
    candidates = Candidates(found, np.arange(len(rows)))
    for _ in range(20):
        expected = int(nearest.argmax())
        assert candidates.farthest() == (pytest.approx(nearest[expected]),
                                         -expected)
        candidates.take()
        assert found.nearest[expected] == -1
        nearest = np.minimum(nearest, squared(rows, rows[[expected]])[:, 0])
        nearest[expected] = -1
    assert len(candidates.centers) == 20


def test_candidates_may_be_used_up(make):
    rows = np.eye(3, dtype=np.float32)
    candidates = Candidates(make(rows), np.array([0, 2]))
    for number in (0, 2):
        assert candidates.farthest() == (np.inf if not number else 2, -number)
        candidates.take()
    assert candidates.farthest() == NO_ROW
