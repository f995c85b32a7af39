import numpy as np
import pytest

from mmad.structures import AnomalyDataSample
from mmad.visualization.heat_scale import HeatScale
from mmad.visualization.page import Page


def draw(shape, is_row, number, **kwargs):
    page = Page(shape, is_row, number)
    panels = []
    for index in range(number):
        panels.append(np.full((*shape, 3), 10 + index, np.uint8))
        page.add_panel(f'panel {index}', panels[-1],
                       HeatScale.of_threshold(2.0) if index == 1 else None)
    sample = AnomalyDataSample(
        metainfo=dict(img_path='x/' + 'long' * 40, image_threshold=1234.5),
        pred_score=8e7,
        pred_label=True,
        gt_label=1,
        **kwargs)
    return page, page.finish(sample)


@pytest.mark.parametrize('number', [1, 2, 3])
@pytest.mark.parametrize(('shape', 'is_row'), [((320, 320), True),
                                               ((1024, 1024), True),
                                               ((2000, 3), True),
                                               ((40, 3000), False),
                                               ((320, 641), False)])
def test_panels_are_whole_and_apart(shape, is_row, number):
    _, drawn = draw(shape, is_row, number)
    assert drawn.dtype == np.uint8
    ends = [(0, 0)]
    for index in range(number):
        place = np.argwhere((drawn == 10 + index).all(2))
        first, last = place.min(0), place.max(0) + 1
        assert (last - first >= shape).all()
        assert len(place) >= shape[0] * shape[1]
        assert first[int(is_row)] > ends[-1][int(is_row)]
        ends.append(first + shape)


@pytest.mark.parametrize('shape', [(320, 320), (2000, 3), (320, 100)])
def test_nothing_is_cut_off(shape):
    _, drawn = draw(shape, True, 3)
    assert (drawn[:3] == 255).all()
    assert (drawn[-1:] == 255).all()
    assert (drawn[:, :3] == 255).all()
    assert (drawn[:, -2:] == 255).all()


def test_all_drawings_of_a_run_have_the_same_size():
    assert draw((320, 320), True, 3)[1].shape == draw((320, 320),
                                                      True,
                                                      3,
                                                      p_value=0.1)[1].shape


def test_lines_and_letters_grow_with_the_picture():
    small, large = (Page((size, size), True, 3) for size in (320, 1024))
    assert large.line > small.line
    header = [
        np.flatnonzero((draw((size, size), True, 3)[1] == 10).all(2).any(1))[0]
        for size in (320, 1024)
    ]
    assert header[1] > 2 * header[0]
