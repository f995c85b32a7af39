import cv2
import numpy as np
import pytest
import torch

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
        metainfo=dict(kind='cut'), pred_score=2.0, pred_map=heat)


def panels(drawn):
    assert drawn.dtype == np.uint8
    assert drawn.shape == (64, 180, 3)
    return [drawn[24:, 60 * i:60 * i + 60] for i in range(3)]


def colour(value):
    return cv2.applyColorMap(
        np.array([[value]], np.uint8), cv2.COLORMAP_INFERNO)[0, 0].tolist()


def test_panels(visualizer, image, sample):
    given = image.copy()
    picture, heat, overlay = panels(visualizer.draw(image, sample, (0, 2)))
    assert (image == given).all()
    assert (picture == image).all()
    assert heat[15, 40].tolist() == colour(255)
    assert heat[5, 5].tolist() == colour(0)
    # Cold pixels show the image, hot ones the colour.
    assert (overlay[:10] == image[:10]).all()
    expected = 0.2 * image[15, 40] + 0.8 * np.array(colour(255))
    assert np.abs(overlay[15, 40] - expected).max() <= 1


def test_scale(visualizer, image, sample):
    for low, high, value in (
            (0, 4, 127), (-2, 2, 255), (2, 4, 0), (0, 1, 255)):
        heat = panels(visualizer.draw(image, sample, (low, high)))[1]
        assert heat[15, 40].tolist() == colour(value)


def test_constant_maps(visualizer, image, sample):
    heat = panels(visualizer.draw(image, sample, (2, 2)))[1]
    assert heat[15, 40].tolist() == colour(0)


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
    assert (cv2.imread(str(path)) == visualizer.draw(image, sample, (0, 2))
            ).all()


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
