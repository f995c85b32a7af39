import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_models import NORMALIZATION

from mmad.apis.model_updater import ModelUpdater
from mmad.errors import InputError
from mmad.models import MKD, PaDiM, PatchCore

PIPELINE = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(40, 32)),
    dict(type='PackInputs')
]
PARTS = dict(
    backbone=dict(type='TinyBackbone'), data_preprocessor=NORMALIZATION)
KINDS = dict(
    padim=lambda: PaDiM(dim=4, epsilon=0.1, **PARTS),
    patchcore=lambda: PatchCore(coreset_ratio=1, num_neighbors=3, **PARTS))


def build(kind):
    model = KINDS[kind]()
    model.cfg = Config(
        dict(test_dataloader=dict(dataset=dict(pipeline=PIPELINE))))
    return model.eval()


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """Paths of nine pictures."""
    folder = tmp_path_factory.mktemp('pictures')
    noise = np.random.default_rng(0)
    paths = [folder / f'{number}.png' for number in range(9)]
    for path in paths:
        image = noise.integers(0, 255, (32, 40, 3), np.uint8)
        cv2.imwrite(str(path), image)
    return paths


@pytest.fixture(params=KINDS)
def make(request):
    """Make an updater of a detector that was fitted to some pictures."""

    def make(paths, batch_size=8):
        model = build(request.param)
        updater = ModelUpdater(model, batch_size)
        model.begin_fit(len(paths), batch_size)
        for batch in updater._batches(paths, ''):
            model.fit_step(batch)
        model.end_pass()
        return updater

    return make


def assert_alike(found, expected):
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_scores(make, pictures):
    updater = make(pictures[:5])
    scores, peaks = updater.score(pictures)
    for path, score, peak in zip(pictures, scores, peaks):
        batch = updater._load([path])
        sample, = updater.model.test_step(batch)
        assert_alike((score, peak), (sample.pred_score, sample.pred_map.max()))
    assert_alike(make(pictures[:5], 2).score(pictures), (scores, peaks))
    assert [len(part) for part in updater.score([])] == [0, 0]


def test_scores_of_images_left_out(make, pictures):
    """As of a fit without the image."""
    found = make(pictures[:5], 2).score(pictures[:5], range(5))
    for number in range(5):
        rest = [p for i, p in enumerate(pictures[:5]) if i != number]
        expected = make(rest).score([pictures[number]])
        assert_alike([part[number:number + 1] for part in found], expected)


@pytest.mark.parametrize('batch_size', [1, 2, 8])
def test_an_update_is_like_a_fit(make, pictures, batch_size):
    updater = make(pictures[:5], batch_size)
    gone = [1, 3]
    updater.update(pictures[5:8], gone,
                   [pictures[i] for i in gone] if updater.needs_files else ())
    # Those behind move up, and new ones come last.
    numbers = [0, 2, 4, 5, 6, 7]
    expected = make([pictures[i] for i in numbers])
    assert_alike(updater.score(pictures), expected.score(pictures))
    order = [pictures[i] for i in numbers]
    assert_alike(
        updater.score(order, range(6)), expected.score(order, range(6)))


@pytest.mark.parametrize(('kind', 'expected'), [('padim', True),
                                                ('patchcore', False)])
def test_files_of_images_to_be_forgotten(kind, expected):
    assert ModelUpdater(build(kind)).needs_files is expected


def test_a_border_has_no_peak(make, pictures, monkeypatch):
    updater = make(pictures[:5])
    expected = updater.score(pictures)
    predict = updater.model.predict

    def with_border(*args, **kwargs):
        samples = predict(*args, **kwargs)
        for sample in samples:
            sample.pred_map[:3] = torch.nan
        return samples

    monkeypatch.setattr(updater.model, 'predict', with_border)
    scores, peaks = updater.score(pictures)
    assert torch.equal(scores, expected[0])
    assert peaks.isfinite().all()
    assert (peaks <= expected[1]).all()


def test_trained_detectors():
    model = MKD.__new__(MKD)
    with pytest.raises(InputError, match='MKD is trained by gradients'):
        ModelUpdater(model)


@pytest.mark.parametrize('batch_size', [0, 1.5, None])
def test_bad_batch_size(batch_size):
    with pytest.raises(InputError, match='batch_size'):
        ModelUpdater(KINDS['padim'](), batch_size)


def test_a_config_without_a_pipeline():
    model = KINDS['padim']()
    model.cfg = Config(dict(model=dict(type='PaDiM')))
    with pytest.raises(InputError, match='PaDiM'):
        ModelUpdater(model)
