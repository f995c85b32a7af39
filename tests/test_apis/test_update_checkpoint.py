import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_models import TinyBackbone  # noqa: F401, registers it

from mmad.apis import init_model, update_checkpoint
from mmad.apis.model_updater import ModelUpdater
from mmad.errors import InputError
from mmad.models import PaDiM, PatchCore
from mmad.utils import load_checkpoint
from mmad.utils.packed_names import unpack_names

MODELS = dict(
    padim=dict(type='PaDiM', dim=4, epsilon=0.1),
    patchcore=dict(type='PatchCore', coreset_ratio=1, num_neighbors=3))
PIPELINE = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(40, 32)),
    dict(type='PackInputs')
]


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """Twelve generated pictures, `00.png` to `11.png`."""
    folder = tmp_path_factory.mktemp('pictures')
    noise = np.random.default_rng(0)
    for number in range(12):
        image = noise.integers(0, 255, (32, 40, 3), np.uint8)
        cv2.imwrite(str(folder / f'{number:02}.png'), image)
    return folder


def copy(pictures, folder, numbers):
    folder.mkdir()
    for number in numbers:
        shutil.copy(pictures / f'{number:02}.png', folder)
    return folder


def config(name):
    model = dict(
        MODELS[name],
        backbone=dict(type='TinyBackbone'),
        data_preprocessor=dict(
            type='ImgDataPreprocessor', mean=[127] * 3, std=[64] * 3))
    return Config(
        dict(
            model=model,
            test_dataloader=dict(dataset=dict(pipeline=PIPELINE))))


def fitted(name, paths, path, rate=0.2):
    """Fit to pictures as `tools/train.py` would, and write a checkpoint."""
    cfg = config(name)
    model = dict(
        padim=PaDiM, patchcore=PatchCore)[name](**{
            key: value
            for key, value in cfg.model.items() if key != 'type'
        })
    model.cfg = cfg
    updater = ModelUpdater(model.eval())
    model.begin_fit(len(paths), 4)
    for batch in updater._batches(paths, ''):
        model.fit_step(batch)
    model.end_pass()
    numbers = range(len(paths))
    scores, peaks = updater.score(paths, numbers)
    model.decision.calibrate(scores, peaks, rate, 'leave_one_out', numbers)
    meta = dict(epoch=1, fitted_images=[str(p) for p in paths])
    torch.save(dict(meta=meta, state_dict=model.state_dict()), path)
    return path


def paths(folder, numbers):
    return [folder / f'{number:02}.png' for number in numbers]


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture
def checkpoint(name, pictures, tmp_path):
    return fitted(name, paths(pictures, range(8)), tmp_path / 'epoch_1.pth')


def load(name, path):
    return init_model(path, config(name), 'cpu')


def scores_of(name, path, pictures):
    return ModelUpdater(load(name, path)).score(paths(pictures, range(12)))


def assert_same(name, path, other, pictures):
    for one, two in zip(
            scores_of(name, path, pictures), scores_of(name, other, pictures)):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_added_images(name, checkpoint, pictures, tmp_path):
    content = checkpoint.read_bytes()
    folder = copy(pictures, tmp_path / 'new', [8, 9, 10])
    result = update_checkpoint(checkpoint, folder, config=config(name))
    assert result.checkpoint == tmp_path / 'epoch_1_11images.pth'
    assert (result.num_before, result.num_fitted) == (8, 11)
    assert checkpoint.read_bytes() == content
    whole = fitted(name, paths(pictures, range(11)), tmp_path / 'whole.pth')
    assert_same(name, result.checkpoint, whole, pictures)
    # New scores are those of images that are left out of all.
    expected = load(name, whole).decision.by_image()
    found = load(name, result.checkpoint).decision.by_image()
    assert found[0].tolist() == list(range(11))
    for one, two in zip(found[1:], expected[1:]):
        torch.testing.assert_close(one[8:], two[8:], rtol=1e-3, atol=0)
    # Earlier ones are as they were.
    earlier = load(name, checkpoint).decision.by_image()
    for one, two in zip(found[1:], earlier[1:]):
        assert torch.equal(one[:8], two)
    assert sorted(result.scores, reverse=True) == result.scores
    assert torch.tensor(result.scores).sort().values.tolist() == (
        found[1][8:].sort().values.tolist())


def test_forgotten_images(name, checkpoint, pictures, tmp_path):
    result = update_checkpoint(
        checkpoint,
        forget=['02.png', pictures / '05.png'],
        out=tmp_path / 'less.pth',
        config=config(name))
    rest = [0, 1, 3, 4, 6, 7]
    assert result.forgotten == [str(p) for p in paths(pictures, [2, 5])]
    other = fitted(name, paths(pictures, rest), tmp_path / 'rest.pth')
    assert_same(name, tmp_path / 'less.pth', other, pictures)
    meta = load_checkpoint(tmp_path / 'less.pth')['meta']
    assert unpack_names(
        meta['fitted_images']) == [str(p) for p in paths(pictures, rest)]
    # The scores of the others stay, under their new numbers.
    numbers, scores, peaks = load(name, result.checkpoint).decision.by_image()
    before = load(name, checkpoint).decision.by_image()
    assert numbers.tolist() == list(range(6))
    assert torch.equal(scores, before[1][rest])
    assert torch.equal(peaks, before[2][rest])


def test_again_and_in_place(name, checkpoint, pictures, tmp_path):
    settings = dict(config=config(name), out=checkpoint)
    update_checkpoint(checkpoint, copy(pictures, tmp_path / 'a', [8]),
                      **settings)
    result = update_checkpoint(checkpoint, copy(pictures, tmp_path / 'b', [9]),
                               ['a/08.png', '00.png'], **settings)
    assert result.num_fitted == 8
    rest = fitted(name, paths(pictures, [*range(1, 8), 9]), tmp_path / 'c.pth')
    assert_same(name, checkpoint, rest, pictures)


def test_thresholds_from_a_folder(name, checkpoint, pictures, tmp_path):
    folder = copy(pictures, tmp_path / 'new', [8, 9])
    whole = fitted(
        name, paths(pictures, range(10)), tmp_path / 'whole.pth', rate=0.3)
    result = update_checkpoint(
        checkpoint,
        folder,
        calibrate=copy(pictures, tmp_path / 'all', range(10)),
        false_alarm_rate=0.3,
        config=config(name))
    decision = load(name, result.checkpoint).decision
    torch.testing.assert_close(
        decision.thresholds,
        load(name, whole).decision.thresholds,
        rtol=1e-3,
        atol=0)
    assert decision.conditions['calibration'] == 'leave_one_out'
    other = update_checkpoint(
        checkpoint,
        folder,
        calibrate=copy(pictures, tmp_path / 'others', [10, 11]),
        config=config(name))
    said = load(name, other.checkpoint).decision.conditions
    assert said['calibration'] == 'held_out'
    assert said['calibration_images'] == 2


def test_images_that_were_fitted_are_left_alone(name, checkpoint, pictures,
                                                tmp_path):
    folder = copy(pictures, tmp_path / 'more', [1, 7, 8])
    # Another image of the name of one that was fitted.
    shutil.copy(pictures / '11.png', folder / '03.png')
    result = update_checkpoint(checkpoint, folder, config=config(name))
    assert {path.name for path in result.added} == {'03.png', '08.png'}
    assert {path.name for path in result.known} == {'01.png', '07.png'}
    with pytest.raises(InputError, match='were fitted already'):
        update_checkpoint(result.checkpoint, folder, config=config(name))


@pytest.mark.parametrize(('asked', 'rates'), [(0.01, [1 / 7, 1 / 10, 1 / 13]),
                                              (0.1, [1 / 7, 1 / 10, 0.1])])
def test_the_rate_comes_down_to_the_one_asked_for(asked, rates, pictures,
                                                  tmp_path):
    path = tmp_path / 'model.pth'
    fitted('padim', paths(pictures, range(6)), path, asked)
    found = []
    for number in (0, 3, 6):
        out = tmp_path / f'{number}.pth'
        if number:
            more = copy(pictures, tmp_path / f'{number}',
                        range(3 + number, 6 + number))
            update_checkpoint(path, more, out=out, config=config('padim'))
            path = out
        found.append(load('padim', path).decision.conditions)
    assert [c['false_alarm_rate'] for c in found] == pytest.approx(rates)
    assert {c['requested_rate'] for c in found} == {asked}


def test_given_thresholds_stay(name, checkpoint, pictures, tmp_path):
    state = load_checkpoint(checkpoint)
    model = load(name, checkpoint)
    model.decision.set_thresholds(3, 4, 'given')
    torch.save(dict(state, state_dict=model.state_dict()), checkpoint)
    folder = copy(pictures, tmp_path / 'new', [8])
    result = update_checkpoint(checkpoint, folder, config=config(name))
    assert result.after.thresholds == (3, 4)
    result = update_checkpoint(
        checkpoint, folder, config=config(name), false_alarm_rate=0.2)
    assert result.after.thresholds != (3, 4)


def test_without_thresholds(name, checkpoint, pictures, tmp_path):
    state = load_checkpoint(checkpoint)
    model = load(name, checkpoint)
    model.decision.reset()
    torch.save(dict(state, state_dict=model.state_dict()), checkpoint)
    result = update_checkpoint(
        checkpoint, copy(pictures, tmp_path / 'new', [8]), config=config(name))
    assert result.before is result.after is None
    assert not result.scores


def test_nothing_is_written_where_an_image_is_broken(name, checkpoint,
                                                     pictures, tmp_path):
    folder = copy(pictures, tmp_path / 'new', [8])
    (folder / '09.png').write_bytes(b'no image')
    files = sorted(tmp_path.iterdir())
    content = checkpoint.read_bytes()
    with pytest.raises(InputError, match=r'09\.png'):
        update_checkpoint(
            checkpoint, folder, config=config(name), out=checkpoint)
    assert sorted(tmp_path.iterdir()) == files
    assert checkpoint.read_bytes() == content


@pytest.mark.parametrize(('forget', 'message'), [
    ('12.png', 'none of the 8 fitted images'),
    ('png', 'none of the 8'),
])
def test_unknown_images(name, checkpoint, forget, message):
    with pytest.raises(InputError, match=message):
        update_checkpoint(checkpoint, forget=[forget], config=config(name))


def test_a_file_that_is_gone(pictures, tmp_path):
    folder = copy(pictures, tmp_path / 'fitted', range(6))
    for name in MODELS:
        fitted(name, paths(folder, range(6)), tmp_path / f'{name}.pth')
    (folder / '04.png').unlink()
    result = update_checkpoint(
        tmp_path / 'patchcore.pth',
        forget=['04.png'],
        config=config('patchcore'))
    assert result.num_fitted == 5
    with pytest.raises(InputError, match=r'04\.png" is not there any more'):
        update_checkpoint(
            tmp_path / 'padim.pth', forget=['04.png'], config=config('padim'))
    # A copy will do.
    copy(pictures, tmp_path / 'copies', [4])
    result = update_checkpoint(
        tmp_path / 'padim.pth',
        forget=[tmp_path / 'copies' / '04.png', '04.png'],
        config=config('padim'))
    assert result.num_fitted == 5


def test_nothing_to_do(name, checkpoint, tmp_path):
    with pytest.raises(InputError, match='name a folder, or --forget'):
        update_checkpoint(checkpoint, config=config(name))
    with pytest.raises(InputError, match='is missing or holds no images'):
        update_checkpoint(checkpoint, tmp_path / 'no', config=config(name))


def test_nothing_for_images_left_out_stays(pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, 'patchcore',
                        dict(type='PatchCore', coreset_ratio=0.3))
    checkpoint = fitted('patchcore', paths(pictures, range(8)),
                        tmp_path / 'epoch_1.pth')
    assert len(load('patchcore', checkpoint).memory_bank.fill_rows)
    folder = copy(pictures, tmp_path / 'new', [8, 9])
    result = update_checkpoint(checkpoint, folder, config=config('patchcore'))
    assert len(result.scores) == 2
    state = load_checkpoint(result.checkpoint)['state_dict']
    assert not len(state['memory_bank.fill_rows'])
    assert not len(state['memory_bank.fill_images'])
