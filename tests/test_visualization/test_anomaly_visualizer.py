import os

import cv2
import numpy as np
import pytest
import torch

from mmad.errors import InputError
from mmad.registry import VISUALIZERS
from mmad.structures import AnomalyDataSample
from mmad.visualization.anomaly_visualizer import draw_outline

GREEN = (80, 255, 80)


@pytest.fixture
def visualizer():
    return VISUALIZERS.build(dict(type='AnomalyVisualizer', name='draw'))


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)


@pytest.fixture
def sample():
    heat = torch.zeros(40, 60)
    heat[10:20, 30:45] = 2.0
    return AnomalyDataSample(
        metainfo=dict(defect_type='cut'), pred_score=2.0, pred_map=heat)


def panels(drawn):
    assert drawn.dtype == np.uint8
    assert drawn.shape == (64, 180, 3)
    return [drawn[24:, 60 * i:60 * i + 60] for i in range(3)]


def color(value):
    return cv2.applyColorMap(
        np.array([[value]], np.uint8), cv2.COLORMAP_INFERNO)[0, 0].tolist()


def test_panels(visualizer, image, sample):
    given = image.copy()
    image, heat, overlay = panels(visualizer.draw(image, sample, (0, 2)))
    assert (image == given).all()
    assert (image == image).all()
    assert heat[15, 40].tolist() == color(255)
    assert heat[5, 5].tolist() == color(0)
    # Cold pixels show the image, hot ones the color.
    assert (overlay[:10] == image[:10]).all()
    expected = 0.2 * image[15, 40] + 0.8 * np.array(color(255))
    assert np.abs(overlay[15, 40] - expected).max() <= 1


def test_scale(visualizer, image, sample):
    for low, high, value in ((0, 4, 127), (-2, 2, 255), (2, 4, 0), (0, 1,
                                                                    255)):
        heat = panels(visualizer.draw(image, sample, (low, high)))[1]
        assert heat[15, 40].tolist() == color(value)


def test_constant_maps(visualizer, image, sample):
    heat = panels(visualizer.draw(image, sample, (2, 2)))[1]
    assert heat[15, 40].tolist() == color(0)


def test_outline_of_the_truth(visualizer, image, sample):
    mask = np.zeros((40, 60), bool)
    mask[5:15, 8:20] = True
    sample.gt_mask = mask
    inside = np.zeros_like(mask)
    inside[6:14, 9:19] = True
    with_truth = panels(visualizer.draw(image, sample, (0, 2)))
    del sample.gt_mask
    without = panels(visualizer.draw(image, sample, (0, 2)))
    for panel, plain in zip(with_truth, without):
        edge = mask & ~inside
        assert (panel[edge] == GREEN).all()
        assert (panel[~edge] == plain[~edge]).all()


def test_empty_truth_draws_nothing(visualizer, image, sample):
    plain = visualizer.draw(image, sample, (0, 2))
    sample.gt_mask = np.zeros((40, 60), bool)
    assert (visualizer.draw(image, sample, (0, 2)) == plain).all()


def test_banner(visualizer, image, sample):
    banner = visualizer.draw(image, sample, (0, 2))[:24]
    assert (banner.max((0, 1)) > 200).all()
    other = AnomalyDataSample(pred_map=sample.pred_map)
    assert (visualizer.draw(image, other, (0, 2))[:24] == 32).all()


def test_file(visualizer, image, sample, tmp_path):
    path = tmp_path / 'new' / 'folder' / 'a.png'
    visualizer.add_datasample('a', image, sample, (0, 2), out_file=path)
    assert (cv2.imread(str(path)) == visualizer.draw(image, sample,
                                                     (0, 2))).all()


def test_back_ends_get_rgb(visualizer, image, sample, monkeypatch):
    given = []
    monkeypatch.setattr(visualizer, 'add_image', lambda *a: given.append(a))
    visualizer.add_datasample('a', image, sample, (0, 2), step=3)
    (name, drawn, step), = given
    assert (name, step) == ('a', 3)
    assert (drawn == visualizer.draw(image, sample, (0, 2))[..., ::-1]).all()


def test_draw_outline_of_several_parts():
    image = np.zeros((20, 20, 3), np.uint8)
    mask = np.zeros((20, 20), bool)
    mask[2:6, 2:6] = mask[10:18, 10:18] = True
    draw_outline(image, mask)
    green = (image == GREEN).all(2)
    assert green.sum() == 12 + 28
    assert not (green & ~mask).any()


def test_call_as_in_the_family(visualizer, image, sample, tmp_path,
                               monkeypatch):
    shown, added = [], []
    monkeypatch.setattr(visualizer, 'show',
                        lambda drawn, **kwargs: shown.append((drawn, kwargs)))
    monkeypatch.setattr(visualizer, 'add_image', lambda *a: added.append(a))
    sample.gt_mask = np.eye(40, 60, dtype=bool)
    out_file = str(tmp_path / 'a.png')
    visualizer.add_datasample(
        'a',
        image,
        data_sample=sample,
        draw_gt=True,
        draw_pred=True,
        show=False,
        wait_time=0.1,
        out_file=out_file,
        step=3)
    # Without a range, that of the map.
    expected = visualizer.draw(image, sample, (0, 2))
    assert (cv2.imread(out_file) == expected).all()
    assert shown == added == []
    visualizer.add_datasample(
        'b', image, sample, draw_gt=False, show=True, wait_time=2, step=4)
    del sample.gt_mask
    expected = visualizer.draw(image, sample)[..., ::-1]
    (drawn, kwargs), = shown
    assert (drawn == expected).all()
    assert kwargs == dict(win_name='b', wait_time=2)
    assert added[0][0] == 'b'
    assert added[0][2] == 4
    assert (added[0][1] == expected).all()


def test_what_there_is_is_drawn(visualizer, image, sample):
    sample.gt_mask = np.eye(40, 60, dtype=bool)
    panel = visualizer.draw(image, sample, draw_pred=False)
    assert panel.shape == (64, 60, 3)
    assert (panel[24:] == visualizer.draw(image, sample)[24:, :60]).all()
    assert (visualizer.draw(image)[24:] == image).all()
    assert (visualizer.draw(image, AnomalyDataSample())[24:] == image).all()


def test_no_score_is_gray(visualizer, image, sample):
    plain = panels(visualizer.draw(image, sample, (0, 2)))
    sample.pred_map[:8] = float('nan')
    drawn = panels(visualizer.draw(image, sample, (0, 2)))
    assert (drawn[1][:8] == 128).all()
    assert (drawn[2][:8] == image[:8] // 2 + 64).all()
    for panel, before in zip(drawn, plain):
        assert (panel[8:] == before[8:]).all()
    # Nor does it set the range.
    assert (visualizer.draw(image, sample)[24:] == np.concatenate(drawn,
                                                                  1)).all()


def test_original_frame(visualizer, sample):
    sample.set_metainfo(
        dict(ori_shape=(100, 140), resized_shape=(50, 70), crop_offset=(5, 5)))
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:45] = True
    sample.gt_mask = mask
    original = np.random.default_rng(0).integers(0, 255, (100, 140, 3),
                                                 np.uint8)
    drawn = visualizer.draw(original, sample, (0, 2), frame='original')
    heat = drawn[24:, 140:280]
    assert drawn.shape == (124, 420, 3)
    assert (heat[:10] == 128).all()
    assert (heat[:, 130:] == 128).all()
    assert heat[45, 90].tolist() == color(255)
    green = (heat == GREEN).all(2)
    rows, columns = np.nonzero(green)
    assert abs(rows.min() - 30) <= 1
    assert abs(columns.max() - 99) <= 1
    # A mask of the original image is taken as it is.
    sample.gt_mask = np.zeros((100, 140), bool)
    sample.gt_mask[2:5, 2:5] = True
    drawn = visualizer.draw(original, sample, (0, 2), frame='original')
    assert (drawn[24 + 2:24 + 5, 2] == GREEN).all()


@pytest.mark.parametrize(('shape', 'frame', 'match'), [
    ((40, 61, 3), 'input', 'is 61x40 and its anomaly map 60x40'),
    ((40, 60, 3), 'original', 'original size'),
    ((40, 60, 3), 'both', "'input' or 'original'"),
])
def test_frames_that_do_not_fit(visualizer, sample, shape, frame, match):
    with pytest.raises(InputError, match=match):
        visualizer.draw(np.zeros(shape, np.uint8), sample, frame=frame)


def test_half_a_file_is_never_left(visualizer, image, sample, tmp_path,
                                   monkeypatch):
    path = tmp_path / 'a.png'
    visualizer.add_datasample('a', image, sample, out_file=path)
    before = path.read_bytes()

    def fail(source, target):
        raise OSError('full')

    monkeypatch.setattr('os.replace', fail)
    with pytest.raises(InputError, match='cannot be written'):
        visualizer.add_datasample('a', 255 - image, sample, out_file=path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    'defect_type',
    [os.fsdecode(b'kr\xe4tz'), 'two\nlines', 'Größe', '漢字', '%d {} \\'])
def test_any_name_of_a_defect_type_is_drawn(visualizer, image, sample,
                                            defect_type):
    sample.set_metainfo(dict(defect_type=defect_type))
    assert len(panels(visualizer.draw(image, sample))) == 3
