"""Images that are added to an ensemble reach all of its members."""
import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_models import NORMALIZATION

from mmad.apis import init_model, update_checkpoint
from mmad.apis.model_updater import ModelUpdater
from mmad.registry import MODELS

TINY = dict(type='TinyBackbone')
CONFIG = Config(
    dict(
        model=dict(
            type='Ensemble',
            data_preprocessor=NORMALIZATION,
            members=[
                dict(
                    type='PatchCore',
                    backbone=TINY,
                    coreset_ratio=1,
                    num_neighbors=1),
                dict(
                    type='PaDiM',
                    backbone=TINY,
                    reduction='pca',
                    dim=16,
                    epsilon=1)
            ]),
        test_dataloader=dict(
            dataset=dict(pipeline=[
                dict(type='LoadImage'),
                dict(type='Resize', scale=(40, 32)),
                dict(type='PackInputs')
            ]))))


@pytest.fixture
def pictures(tmp_path):
    """Paths of eight generated pictures, the last in a folder of its own."""
    noise = np.random.default_rng(0)
    paths = []
    for number in range(8):
        folder = tmp_path / ('more' if number == 7 else 'first')
        folder.mkdir(exist_ok=True)
        paths.append(folder / f'{number}.png')
        cv2.imwrite(
            str(paths[-1]), noise.integers(0, 255, (32, 40, 3), np.uint8))
    return paths


def fitted(paths):
    """Fit to pictures as `tools/train.py` would, but for the scales."""
    model = MODELS.build(CONFIG.model).eval()
    model.cfg = CONFIG
    updater = ModelUpdater(model)
    model.begin_fit(len(paths), 4)
    for _ in range(model.num_passes):
        for batch in updater._batches(paths, ''):
            model.fit_step(batch)
        model.end_pass()
    scales = torch.tensor([[2.0, 2.5, 3], [20, 22, 25]])
    model.learn_scales(scales, scales / 3, scales / 9)
    return updater


def test_images_are_added_and_forgotten(pictures, tmp_path):
    first, rest = pictures[:7], [*pictures[:3], *pictures[4:]]
    before = fitted(first)
    before.model.decision.calibrate(*before.score(first, range(7)), 0.2,
                                    'leave_one_out', range(7))
    checkpoint = tmp_path / 'epoch_2.pth'
    torch.save(
        dict(
            meta=dict(fitted_images=[str(path) for path in first]),
            state_dict=before.model.state_dict()), checkpoint)
    result = update_checkpoint(
        checkpoint, tmp_path / 'more', forget=['3.png'], config=CONFIG)
    assert (result.num_before, result.num_fitted) == (7, 7)
    updated = init_model(result.checkpoint, CONFIG, 'cpu')
    # The scales stay.
    assert updated.z_scores.stds.equal(before.model.z_scores.stds)
    whole = fitted(rest)
    for one, other in zip(
            ModelUpdater(updated).score(pictures), whole.score(pictures)):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    # The thresholds are those of the other images and the new one.
    numbers, scores, _ = updated.decision.by_image()
    assert numbers.tolist() == list(range(7))
    kept = before.model.decision.by_image()[1]
    assert torch.equal(scores[:6], kept[[0, 1, 2, 4, 5, 6]])
    torch.testing.assert_close(
        scores[6:], whole.score(pictures[7:], [6])[0], rtol=1e-3, atol=1e-3)
