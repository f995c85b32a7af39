import logging
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from drawn_batches import batch, drawing_runner, names
from mmengine.dataset import Compose

from mmad.datasets.transforms import LoadImage, LoadMask
from mmad.errors import InputError
from mmad.registry import HOOKS


@pytest.fixture
def runner(tmp_path):
    return drawing_runner(tmp_path)


@pytest.fixture
def originals(runner, tmp_path):
    """Four images of 20 x 30, of which the model saw the middle 10 x 12."""
    rng = np.random.default_rng(0)
    data, samples = batch(0, 4)
    images = {}
    for i, sample in enumerate(samples):
        image = rng.integers(0, 255, (20, 30, 3), np.uint8)
        mask = np.zeros((20, 30), np.uint8)
        mask[:3, :4] = 255 * (i % 2)
        path = str(tmp_path / f'{i}.png')
        cv2.imwrite(path, image)
        cv2.imwrite(path + '_mask.png', mask)
        sample.set_metainfo(
            dict(
                img_path=path,
                mask_path=path + '_mask.png' if i % 2 else None,
                ori_shape=(20, 30),
                resized_shape=(20, 30),
                crop_offset=(5, 9)))
        sample.gt_label = i % 2
        images[f'{sample.defect_type}/{i}.png'] = image, mask > 0, sample
    runner.test_dataloader = SimpleNamespace(dataset=TestSet())
    return data, samples, images


class TestSet:
    pipeline = Compose([LoadImage(), LoadMask()])

    def __len__(self):
        return 4


def show(runner, data, samples, **kwargs):
    """Return what is given to the visualizer, by the name of the file."""
    drawn = {}

    def draw(name, image, sample, value_range, out_file, frame):
        out_file.parent.mkdir(parents=True, exist_ok=True)
        out_file.touch()
        drawn[name] = image, sample, frame

    runner.visualizer.add_datasample = draw
    hook = HOOKS.build(dict(type='VisualizationHook', enable=True, **kwargs))
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, data, samples)
    hook.after_test_epoch(runner)
    return drawn


@pytest.mark.parametrize('kwargs', [dict(), dict(frame='original')])
@pytest.mark.parametrize('threshold', [None, 1.0])
def test_originals(runner, originals, tmp_path, kwargs, threshold):
    data, samples, images = originals
    for sample in samples:
        sample.set_metainfo(dict(pixel_threshold=threshold))
    drawn = show(runner, data, samples, **kwargs)
    assert names(tmp_path / 'work') == sorted(f'visualization/{name}'
                                              for name in images)
    for name, (image, mask, sample) in images.items():
        given, seen, frame = drawn[Path(name).stem]
        assert frame == 'original'
        assert (given == image).all()
        # The mask of the file, which the crop left out.
        assert (seen.gt_mask.numpy() == mask).all()
        assert (seen.pred_map == sample.pred_map).all()
        # What the metrics see is not touched.
        assert 'gt_mask' not in sample


@pytest.mark.parametrize('meta', [
    dict(rotation=3.0),
    dict(frame_lost='it was sheared'),
    dict(img_path='MNIST/3'),
    dict(ori_shape=None),
])
def test_the_model_input_where_there_is_no_original(runner, originals, meta,
                                                    caplog):
    data, samples, _ = originals
    for sample in samples[1:]:
        sample.set_metainfo(meta)
    runner.logger = logging.getLogger('show')
    with caplog.at_level('INFO', 'show'):
        drawn = show(runner, data, samples)
    frames = [frame for *_, frame in drawn.values()]
    assert sorted(frames) == ['input'] * (len(frames) - 1) + ['original']
    text, = caplog.messages
    assert text.startswith('Heat maps show the model input: the ')
    assert text.endswith('.')
    image = next(image for image, _, frame in drawn.values()
                 if frame == 'input')
    assert image.shape == (10, 12, 3)


def test_the_model_input_if_asked(runner, originals):
    data, samples, _ = originals
    drawn = show(runner, data, samples, frame='input')
    for (image, _, frame), given in zip(drawn.values(), data['inputs']):
        assert frame == 'input'
        assert (image == given.permute(1, 2, 0).numpy()).all()


@pytest.mark.parametrize(('meta', 'match'), [
    (dict(rotation=3.0), 'rotated'),
    (dict(img_path='MNIST/3'), 'not a file and cannot be drawn'),
    (dict(ori_shape=None), 'original size'),
])
def test_what_has_no_original_is_refused_when_it_comes(runner, originals, meta,
                                                       match):
    data, samples, _ = originals
    samples[0].set_metainfo(meta)
    hook = HOOKS.build(
        dict(type='VisualizationHook', enable=True, frame='original'))
    hook.before_test_epoch(runner)
    with pytest.raises(InputError, match=match):
        hook.after_test_iter(runner, 0, data, samples)
