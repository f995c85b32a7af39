import os

import cv2
import numpy as np
import pytest
import torch

from mmad.errors import InputError
from mmad.registry import VISUALIZERS
from mmad.structures import AnomalyDataSample

SHAPE = (320, 400)


@pytest.fixture
def visualizer():
    return VISUALIZERS.build(dict(type='AnomalyVisualizer', name='draw'))


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), np.uint8)


@pytest.fixture
def sample():
    heat = torch.zeros(*SHAPE)
    heat[80:160, 200:300] = 2.0
    return AnomalyDataSample(
        metainfo=dict(defect_type='cut', img_path='x/cut/003.png'),
        pred_score=2.0,
        pred_map=heat)


def calibrate(sample, threshold):
    sample.set_metainfo(
        dict(image_threshold=threshold, pixel_threshold=threshold))
    sample.pred_label = bool(sample.pred_score > threshold)


def place(drawn, image):
    """Top and left of an image in a drawing."""
    found = cv2.matchTemplate(drawn, image, cv2.TM_SQDIFF)
    assert found.min() < 1e-3 * found.max()
    top, left = np.unravel_index(found.argmin(), found.shape)
    assert (drawn[top:top + len(image),
                  left:left + image.shape[1]] == image).all()
    return top, left


def panels(drawn, image, shape=SHAPE):
    """The panels side by side, from the one of the image alone."""
    top, left = place(drawn, image)
    step = shape[1] + left
    number = (drawn.shape[1] - left) // step
    return [
        drawn[top:top + shape[0], start:start + shape[1]]
        for start in range(left, left + number * step, step)
    ]


def is_colored(panel):
    return panel.max(2).astype(int) - panel.min(2) > 40


def test_image_map_and_truth_beside_each_other(visualizer, image, sample):
    sample.gt_mask = np.zeros(SHAPE, bool)
    sample.gt_mask[100:120, 240:260] = True
    given = image.copy()
    first, heat, truth = panels(visualizer.draw(image, sample, (0, 2)), image)
    assert (image == given).all()
    assert (first == given).all()
    assert is_colored(heat)[80:160, 200:300].all()
    assert not is_colored(heat)[:75].any()
    black = (truth == 0).all(2)
    assert (black == sample.gt_mask.numpy()).all()
    # The rest is faded.
    assert truth[~black].min() > 150


def test_the_threshold_sets_scale_and_outline(visualizer, image, sample):
    calibrate(sample, 1.5)
    drawn = visualizer.draw(image, sample)
    heat = panels(drawn, image)[1]
    assert is_colored(heat)[85:155, 205:295].all()
    # White around the region, whose inside is left alone.
    assert (heat[79, 210:290] == 0).all()
    assert (heat[78, 210:290] == 255).all()
    # The same values are as hot in any image of the model.
    other = sample.clone()
    other.pred_map = sample.pred_map.clone()
    other.pred_map[-1, -1] = 1e6
    other = panels(visualizer.draw(image, other), image)[1]
    assert (other[:300] == heat[:300]).all()
    calibrate(sample, 2.5)
    above = panels(visualizer.draw(image, sample), image)[1]
    assert not (above[78, 210:290] == 255).all()
    assert above[120, 250].sum() < heat[120, 250].sum()


@pytest.mark.parametrize('threshold', [0.0, -1.0])
def test_thresholds_that_are_no_unit(visualizer, image, sample, threshold):
    calibrate(sample, threshold)
    sample.pred_map[:20] = -3
    heat = panels(visualizer.draw(image, sample), image)[1]
    assert is_colored(heat)[80:160, 200:300].any()
    assert not is_colored(heat)[:15].any()


def test_without_a_range_that_of_the_map(visualizer, image, sample):
    sample.pred_map[0, 0] = float('nan')
    assert (visualizer.draw(image,
                            sample) == visualizer.draw(image, sample,
                                                       (0, 2))).all()


def test_words_change_with_the_verdict(visualizer, image, sample):
    drawn = []
    for label, threshold in ((1, 1.0), (0, 1.0), (1, 3.0), (0, 3.0)):
        sample.gt_label = label
        calibrate(sample, threshold)
        drawn.append(visualizer.draw(image, sample, (0, 2)))
    for number, one in enumerate(drawn):
        for other in drawn[:number]:
            assert one.shape == other.shape
            top = place(one, image)[0]
            assert (one[:top] != other[:top]).sum() > 300


def test_only_what_there_is_is_drawn(visualizer, image, sample):
    alone = visualizer.draw(image)
    assert (alone == visualizer.draw(image, AnomalyDataSample())).all()
    assert len(panels(alone, image)) == 1
    sample.gt_mask = np.eye(*SHAPE, dtype=bool)
    for kwargs, number in ((dict(), 3), (dict(draw_pred=False),
                                         2), (dict(draw_gt=False), 2),
                           (dict(draw_gt=False, draw_pred=False), 1)):
        drawn = visualizer.draw(image, sample, **kwargs)
        assert len(panels(drawn, image)) == number
    sample.gt_mask = np.zeros(SHAPE, bool)
    truth = panels(visualizer.draw(image, sample), image)[2]
    assert truth.min() > 150


def test_nothing_is_scored(visualizer, image, sample):
    sample.pred_map[:] = float('nan')
    heat = panels(visualizer.draw(image, sample), image)[1]
    assert not is_colored(heat).any()


def test_gray_images(visualizer, image, sample):
    gray = image[..., 0]
    drawn = visualizer.draw(gray, sample)
    assert (drawn == visualizer.draw(gray[..., None], sample)).all()
    assert (drawn == visualizer.draw(np.stack([gray] * 3, 2), sample)).all()


@pytest.mark.parametrize('shape', [(1, 1), (8, 8), (40, 2000), (2000, 40)])
def test_sizes(visualizer, shape):
    sample = AnomalyDataSample(
        pred_map=torch.rand(*shape),
        gt_mask=torch.ones(*shape),
        pred_score=1.0)
    calibrate(sample, 0.5)
    drawn = visualizer.draw(np.zeros((*shape, 3), np.uint8), sample)
    assert 320 <= max(drawn.shape) < 3600


def test_large_images_are_shrunk(sample):
    small = VISUALIZERS.build(
        dict(type='AnomalyVisualizer', name='small', max_size=400))
    calibrate(sample, 1.0)
    image = np.zeros((1000, 1200, 3), np.uint8)
    sample.pred_map = torch.zeros(1000, 1200)
    sample.pred_map[500, 600] = 9  # a single pixel
    drawn = small.draw(image, sample)
    assert drawn.shape[1] == 480
    assert is_colored(drawn[:240]).any()
    with pytest.raises(InputError, match='max_size'):
        VISUALIZERS.build(
            dict(type='AnomalyVisualizer', name='none', max_size=0))


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


def test_mlflow_gets_names_of_files(visualizer, image):
    given = []

    class Other:

        def add_image(self, *args):
            given.append(args)

    class MLflowVisBackend(Other):
        pass

    visualizer._vis_backends = dict(a=Other(), b=MLflowVisBackend())
    visualizer.add_image('cut_003', image, 4)
    assert [args[0] for args in given] == ['cut_003', 'cut_003_4.png']
    assert all(args[2] == 4 for args in given)


def test_call_as_in_the_family(visualizer, image, sample, tmp_path,
                               monkeypatch):
    shown, added = [], []
    monkeypatch.setattr(visualizer, 'show',
                        lambda drawn, **kwargs: shown.append((drawn, kwargs)))
    monkeypatch.setattr(visualizer, 'add_image', lambda *a: added.append(a))
    sample.gt_mask = np.eye(*SHAPE, dtype=bool)
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
    expected = visualizer.draw(image, sample)
    assert (cv2.imread(out_file) == expected).all()
    assert shown == added == []
    visualizer.add_datasample(
        'b', image, sample, draw_gt=False, show=True, wait_time=2, step=4)
    expected = visualizer.draw(image, sample, draw_gt=False)[..., ::-1]
    (drawn, kwargs), = shown
    assert (drawn == expected).all()
    assert kwargs == dict(win_name='b', wait_time=2)
    assert added[0][0] == 'b'
    assert added[0][2] == 4
    assert (added[0][1] == expected).all()


def test_no_score_is_gray(visualizer, image, sample):
    plain = panels(visualizer.draw(image, sample, (0, 2)), image)[1]
    sample.pred_map[:40] = float('nan')
    drawn = panels(visualizer.draw(image, sample, (0, 2)), image)[1]
    assert drawn[:40].std() < plain[:40].std() / 2
    assert (np.abs(drawn[:40].astype(int) - 110) <= 25).all()
    assert (drawn[45:] == plain[45:]).all()


def test_original_frame(visualizer, sample):
    sample.set_metainfo(
        dict(
            ori_shape=(800, 960),
            resized_shape=(400, 480),
            crop_offset=(40, 40)))
    calibrate(sample, 1.0)
    sample.gt_mask = sample.pred_map > 1
    original = np.random.default_rng(0).integers(0, 255, (800, 960, 3),
                                                 np.uint8)
    drawn = visualizer.draw(original, sample, frame='original')
    _, heat, truth = panels(drawn, original, (800, 960))
    assert (heat[:80].max((0, 1)) < 140).all()
    assert (heat[:80].min((0, 1)) >= 90).all()
    region = np.zeros((800, 960), bool)
    region[240:400, 480:680] = True
    assert (is_colored(heat) & ~region).sum() < 0.05 * region.sum()
    assert (is_colored(heat) & region).sum() > 0.95 * region.sum()
    black = (truth == 0).all(2)
    assert (black == region).mean() > 0.99
    # A mask of the original image is taken as it is.
    sample.gt_mask = torch.zeros(800, 960, dtype=torch.bool)
    sample.gt_mask[8:20, 8:20] = True
    drawn = visualizer.draw(original, sample, frame='original')
    black = (panels(drawn, original, (800, 960))[2] == 0).all(2)
    assert (black == sample.gt_mask.numpy()).all()


@pytest.mark.parametrize(('shape', 'frame', 'match'), [
    ((320, 401, 3), 'input', 'is 401x320 and its anomaly map 400x320'),
    ((320, 400, 3), 'original', 'original size'),
    ((320, 400, 3), 'both', 'must be "input" or "original"'),
])
def test_frames_that_do_not_fit(visualizer, sample, shape, frame, match):
    with pytest.raises(InputError, match=match):
        visualizer.draw(np.zeros(shape, np.uint8), sample, frame=frame)


def test_masks_that_do_not_fit(visualizer, image, sample):
    sample.gt_mask = np.zeros((100, 100), bool)
    with pytest.raises(InputError, match='its mask 100x100'):
        visualizer.draw(image, sample)


@pytest.mark.parametrize('meta', [dict(rotation=3.0), dict(frame_lost='x')])
def test_a_place_that_is_lost(visualizer, image, sample, meta):
    sample.set_metainfo(dict(meta, ori_shape=SHAPE))
    with pytest.raises(InputError, match='is not known'):
        visualizer.draw(image, sample, frame='original')
    visualizer.draw(image, sample)


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
    'name',
    [os.fsdecode(b'kr\xe4tz'), 'two\nlines', 'Größe', '漢字', '%d {} \\'])
def test_any_name_is_drawn(visualizer, image, sample, name):
    plain = visualizer.draw(image, sample)
    sample.set_metainfo(dict(defect_type=name, img_path=f'{name}/{name}.png'))
    assert visualizer.draw(image, sample).shape == plain.shape
