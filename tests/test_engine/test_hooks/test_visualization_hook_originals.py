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
    runner.test_dataloader = SimpleNamespace(
        dataset=SimpleNamespace(
            pipeline=Compose([LoadImage(), LoadMask()])))
    return data, samples, images


def show_originals(runner, data, samples):
    hook = HOOKS.build(
        dict(type='VisualizationHook', enable=True, frame='original'))
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, data, samples)
    assert all(image is None for *_, image in hook._waiting)
    hook.after_test_epoch(runner)


def test_originals(runner, originals, tmp_path):
    show_originals(runner, *originals[:2])
    folder = tmp_path / 'work/visualization'
    assert names(folder) == sorted(originals[2])
    for name, (image, mask, _) in originals[2].items():
        drawn = cv2.imread(str(folder / name))[24:]
        assert drawn.shape == (20, 90, 3)
        heat = drawn[:, 30:60]
        scored = (heat != 128).any(2)
        outline = (heat == (80, 255, 80)).all(2)
        assert scored[5:15, 9:21].all()
        assert not (scored & ~outline)[:5].any()
        assert not scored[:, 22:].any()
        # The mask of the file, which the crop left out.
        assert (outline & mask).any() == mask.any()
        plain = ~outline
        assert (drawn[:, :30][plain] == image[plain]).all()


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
