from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from exported_models import (
    calibrated,
    draw_images,
    make_padim,
    with_config,
)

from mmad.deploy.exportable_detector import ExportableDetector
from mmad.deploy.image_input import ImageInput
from mmad.deploy.parity import LIMIT, Parity, images_of, random_images
from mmad.errors import InputError
from mmad.structures import AnomalyDataSample


@pytest.fixture(scope='module')
def detector():
    return with_config(calibrated(make_padim()))


class Graph:
    """A detector in place of its graph; notes the batches."""

    def __init__(self, detector, color_order='bgr', change=None):
        image_input = ImageInput.of(detector, 'a.pth')
        self.model = ExportableDetector(detector, image_input, color_order)
        self.change = change or (lambda found: None)
        self.batches = []

    def __call__(self, images):
        self.batches.append(len(images))
        with torch.no_grad():
            found = self.model(torch.from_numpy(images))
        found = {name: value.numpy().copy() for name, value in found.items()}
        self.change(found)
        return found


def check(detector, color_order='bgr', batch_size=None, change=None):
    graph = Graph(detector, color_order, change)
    parity = Parity(detector, graph, color_order, batch_size)
    parity.check(random_images(graph.model.image_input))
    return parity, graph.batches


@pytest.mark.parametrize('color_order', ['rgb', 'bgr'])
@pytest.mark.parametrize(('batch_size', 'batches'), [(None, [1, 3]),
                                                     (1, [1] * 4), (3, [3, 3]),
                                                     (9, [9])])
def test_what_is_equal(detector, color_order, batch_size, batches):
    parity, seen = check(detector, color_order, batch_size)
    assert seen == batches
    assert (parity.images, parity.labels) == (4, 4)
    assert set(parity.differences) == {'score', 'anomaly_map', 'p_value'}
    assert max(parity.differences.values()) < LIMIT


def test_colors_in_the_other_order(detector):
    graph = Graph(detector, 'rgb')
    parity = Parity(detector, graph, 'bgr', None)
    with pytest.raises(InputError, match='`score` is off'):
        parity.check(random_images(graph.model.image_input))


def scale(name, factor):

    def change(found):
        found[name] = found[name] * np.float32(factor)

    return change


@pytest.mark.parametrize('name', ['score', 'anomaly_map', 'p_value'])
@pytest.mark.parametrize('factor', [0.99, 1.001, np.nan, np.inf])
def test_what_is_off(detector, name, factor):
    with pytest.raises(InputError, match=r'is off by .* image number 1,'):
        check(detector, change=scale(name, factor))


def test_the_greatest_difference_is_noted(detector):
    parity, _ = check(detector, change=scale('anomaly_map', 1 + LIMIT / 2))
    assert parity.differences['anomaly_map'] == pytest.approx(
        LIMIT / 2, rel=0.01)
    assert parity.differences['score'] < LIMIT / 100


@pytest.mark.parametrize('name', ['label', 'mask'])
def test_another_verdict(detector, name):

    def change(found):
        found[name].flat[-1] ^= True

    with pytest.raises(InputError, match=f'`{name}` is another'):
        check(detector, change=change)


@pytest.mark.parametrize('off', [0.5, 2])
def test_rounding_may_decide_at_the_threshold(off):
    detector = with_config(calibrated(make_padim()))
    images = random_images(ImageInput.of(detector, 'a.pth'))
    sample, = detector.test_step(
        dict(inputs=[next(images)[1]['inputs']], data_samples=None))
    score = float(sample.pred_score)
    detector.decision.set_thresholds(score * (1 + off * LIMIT), 1e9, 'given')

    def flip_first(found):
        if len(found['label']) == 1:
            found['label'] = ~found['label']

    if off < 1:
        assert check(detector, change=flip_first)[0].labels == 4
    else:
        with pytest.raises(InputError, match='`label` is another on image'):
            check(detector, change=flip_first)


@pytest.mark.parametrize('combined', [None, ['a', 'b']])
def test_scores_near_zero(combined):
    """Those of ensembles are in standard deviations of normal images."""
    sample = AnomalyDataSample(pred_score=1e-3, pred_map=torch.zeros(2, 2))
    detector = SimpleNamespace(
        combined=combined,
        decision=SimpleNamespace(is_fitted=False),
        test_step=lambda data: [sample])
    off = np.float32([1e-3 + LIMIT / 2])
    parity = Parity(detector, lambda images: dict(score=off), 'bgr', 1)
    pair = np.zeros((2, 2, 3), np.uint8), dict(inputs=torch.zeros(3, 2, 2))
    if combined:
        parity.check([pair])
        assert parity.differences['score'] == pytest.approx(LIMIT / 2, 1e-3)
    else:
        with pytest.raises(InputError, match='`score` is off'):
            parity.check([pair])


def test_random_images(detector):
    image_input = ImageInput.of(detector, 'a.pth')
    pairs = list(random_images(image_input))
    images = [image for image, _ in pairs]
    assert {image.shape for image in images} == {(36, 44, 3)}
    assert len({image.tobytes() for image in images}) == 4
    for (image, packed), (again, _) in zip(pairs, random_images(image_input)):
        assert (image == again).all()
        inner = packed['inputs'].permute(1, 2, 0).numpy()
        assert (inner == image[2:-2, 2:-2]).all()
    # From smooth to noisy.
    steps = [
        np.abs(np.diff(image.astype(int), axis=0)).mean() for image in images
    ]
    assert steps == sorted(steps)


def test_images_of_a_folder(detector, tmp_path):
    given = draw_images(3, (50, 60))
    for number, image in enumerate(given):
        cv2.imwrite(str(tmp_path / f'{number}.png'), image)
    graph = Graph(detector)
    parity = Parity(detector, graph, 'bgr', None)
    pairs = list(images_of(str(tmp_path), detector))
    assert {image.shape for image, _ in pairs} == {(36, 44, 3)}
    parity.check(pairs)
    assert parity.images == 3
