import numpy as np
import pytest

from mmad.visualization.outline import draw_outline


@pytest.mark.parametrize('thickness', [1, 2, 5])
def test_lines_go_around_regions(thickness):
    rng = np.random.default_rng(0)
    before = rng.integers(50, 200, (80, 90, 3), np.uint8)
    mask = np.zeros((80, 90), bool)
    mask[20:30, 20:30] = mask[55:60, 60:75] = True
    drawn = before.copy()
    draw_outline(drawn, mask, thickness)
    changed = (drawn != before).any(2)
    assert not changed[mask].any()
    # From the region outward: black, white, black, as before.
    row = drawn[25, 30:30 + 3 * thickness, 0]
    expected = np.repeat([0, 255, 0], thickness)
    assert row.tolist() == expected.tolist()
    assert not changed[25, 30 + 3 * thickness:40].any()
    assert set(np.unique(drawn[changed])) == {0, 255}


@pytest.mark.parametrize('value', [False, True])
def test_without_an_edge_nothing_is_drawn(value):
    drawn = np.full((20, 30, 3), 90, np.uint8)
    draw_outline(drawn, np.full((20, 30), value), 2)
    assert (drawn == 90).all()


def test_a_single_pixel_is_seen():
    drawn = np.full((20, 30, 3), 90, np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[10, 10] = True
    draw_outline(drawn, mask)
    assert (drawn == 255).any()
    assert (drawn == 0).any()
    assert (drawn[10, 10] == 90).all()
