"""The habits of the family: drawings, files, plain values, many inputs."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.infer import BaseInferencer
from PIL import Image

from mmad.apis import AnomalyInferencer, make_record
from mmad.datasets.files import list_images
from mmad.errors import InputError
from mmad.registry import INFERENCERS
from mmad.utils import load_checkpoint


@pytest.fixture
def inferencer(fitted):
    found = AnomalyInferencer(
        f'{fitted.work_dir}/epoch_1.pth', device='cpu', modules='tiny_models')
    decision = found.model.decision
    if not decision.is_fitted:
        decision.calibrate(
            torch.rand(9) + 1,
            torch.rand(9) + 1, 0.1, 'held_out')
    return found


@pytest.fixture
def folder(mvtec_root):
    return mvtec_root / 'bottle' / 'test'


def test_is_one_of_the_family(inferencer, fitted):
    assert isinstance(inferencer, BaseInferencer)
    built = INFERENCERS.build(
        dict(
            type='AnomalyInferencer',
            checkpoint=f'{fitted.work_dir}/epoch_1.pth',
            device='cpu',
            modules='tiny_models'))
    assert type(built) is AnomalyInferencer
    for name, value in built.model.state_dict().items():
        if not name.startswith('decision'):
            assert torch.equal(value, inferencer.model.state_dict()[name])


def test_base_class_reads_no_checkpoint(fitted, monkeypatch):

    def refuse(*args, **kwargs):
        raise AssertionError

    for name in ('_load_checkpoint', '_load_checkpoint_to_model', 'load',
                 'get_file_backend'):
        monkeypatch.setattr(f'mmengine.infer.infer.{name}', refuse)
    monkeypatch.setattr('mmengine.config.Config.fromstring', refuse)
    monkeypatch.setattr('mmengine.config.Config.fromfile', refuse)
    inferencer = AnomalyInferencer(
        f'{fitted.work_dir}/epoch_1.pth', device='cpu', modules='tiny_models')
    assert len(inferencer(np.zeros((52, 60, 3), np.uint8))) == 1


def test_not_fitted(fitted, tmp_path):
    state = load_checkpoint(f'{fitted.work_dir}/epoch_1.pth')
    state['state_dict'] = {
        name: value[:0] if value.ndim else torch.zeros_like(value)
        for name, value in state['state_dict'].items()
    }
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(InputError):
        AnomalyInferencer(
            tmp_path / 'a.pth', device='cpu', modules='tiny_models')


def test_drawings(inferencer, folder):
    found = inferencer(folder, return_vis=True)
    assert set(found) == {'predictions', 'visualization'}
    files = list_images(folder, recursive=True)
    for file, sample, drawn in zip(
            files, found['predictions'], found['visualization'], strict=True):
        expected = inferencer.visualizer.draw(
            cv2.imread(str(file)), sample, frame='original')
        assert np.array_equal(drawn, expected)


def test_plain_values(inferencer, folder):
    samples = inferencer(folder)
    plain = inferencer(folder, return_datasamples=False)
    assert json.loads(json.dumps(plain)) == plain
    assert plain == [make_record(sample) for sample in samples]
    for record, sample in zip(plain, samples):
        assert np.float32(record['score']) == sample.pred_score.numpy()
        assert record['label'] == ('defective'
                                   if sample.pred_label else 'good')


def test_windows(inferencer, folder, monkeypatch):
    shown = []
    monkeypatch.setattr(
        inferencer.visualizer, 'show',
        lambda image, win_name, wait_time: shown.append((win_name, wait_time)))
    samples = inferencer(folder, show=True, wait_time=0.5)
    assert shown == [(sample.img_path, 0.5) for sample in samples]


def test_files(inferencer, folder, tmp_path):
    samples = inferencer(folder, out_dir=tmp_path)
    whole = json.loads((tmp_path / 'predictions.json').read_text())
    assert [record['path'] for record in whole['predictions']
            ] == [sample.img_path for sample in samples]
    assert whole['checkpoint'].endswith('epoch_1.pth')
    assert whole['false_alarm_rate'] == samples[0].false_alarm_rate
    for record in whole['predictions']:
        assert (tmp_path / record['overlay']).is_file()
        assert record['overlay'].startswith('overlays/bottle/test/')


def test_many_forms_at_once(inferencer, folder):
    files = list_images(folder, recursive=True)
    image = cv2.imread(str(files[0]))
    given = [
        folder, f'{folder}/good/*.png',
        str(files[0]), files[0], image, image[..., 0], image[..., :1],
        Image.open(files[0])
    ]
    good = [path for path in files if path.parent.name == 'good']
    for form in (given, tuple(given), iter(given)):
        samples = inferencer(form, batch_size=1)
        paths = [sample.get('img_path') for sample in samples]
        assert paths == [
            *map(str, files), *map(str, good),
            str(files[0]),
            str(files[0]), None, None, None, None
        ]
        for number in (len(files), len(files) + len(good), -4, -1):
            assert torch.equal(samples[number].pred_map, samples[0].pred_map)
        gray = np.repeat(image[..., :1], 3, axis=2)
        assert torch.equal(samples[-3].pred_map, samples[-2].pred_map)
        expected, = inferencer(gray)
        assert torch.equal(samples[-3].pred_map, expected.pred_map)


def test_pattern(inferencer, folder):
    files = list_images(folder, recursive=True)
    samples = inferencer(f'{folder}/**/*')
    assert [sample.img_path for sample in samples] == [str(f) for f in files]
    for wrong in (f'{folder}/*', f'{folder}/*.txt', 'none*'):
        with pytest.raises(InputError, match='matches no image'):
            inferencer(wrong)


def test_name_with_the_signs_of_a_pattern(inferencer, folder, tmp_path):
    name = tmp_path / 'a[1]*.png'
    name.write_bytes(list_images(folder, recursive=True)[0].read_bytes())
    sample, = inferencer(str(name))
    assert sample.img_path == str(name)


def test_errors_of_single_images(inferencer, folder, tmp_path):
    good = str(list_images(folder, recursive=True)[0])
    (tmp_path / 'text.png').write_text('no image')
    given = [
        good, 'none.png', good,
        np.zeros((4, 4), np.float32), None,
        str(tmp_path / 'text.png'), good
    ]
    with pytest.raises(InputError, match=r'none\.png'):
        inferencer(given)
    samples = inferencer(given, batch_size=3, strict=False)
    assert [sample.get('error') is None for sample in samples
            ] == [True, False, True, False, False, False, True]
    for sample in samples:
        if sample.get('error') is not None:
            assert 'pred_score' not in sample
            assert 'pred_label' not in sample
    assert [sample.get('img_path') for sample in samples
            ] == [good, 'none.png', good, None, None, given[5], good]
    found = inferencer(
        given, return_vis=True, return_datasamples=False, strict=False)
    assert [record['label'] == 'error' for record in found['predictions']
            ] == [drawn is None for drawn in found['visualization']]


def test_one_of_another_size_does_not_spoil_its_batch(fitted):
    cfg = fitted.cfg.copy()
    cfg.test_dataloader = dict(
        dataset=dict(pipeline=[dict(type='PackInputs')]))
    inferencer = AnomalyInferencer(f'{fitted.work_dir}/epoch_1.pth', cfg,
                                   'cpu')
    good = np.full((48, 48, 3), 7, np.uint8)
    odd = np.full((48, 64, 3), 7, np.uint8)
    samples = inferencer([good, odd, good, good], strict=False, batch_size=4)
    assert ['error' in sample
            for sample in samples] == [False, True, False, False]
    assert '64' in samples[1].error
    expected, = inferencer(good)
    for number in (0, 2, 3):
        torch.testing.assert_close(samples[number].pred_map, expected.pred_map)


@pytest.mark.parametrize('is_calibrated', [True, False])
def test_given_thresholds(inferencer, folder, is_calibrated):
    decision = inferencer.model.decision
    pixel = float(decision.thresholds[1])
    if not is_calibrated:
        decision.reset()
        sample = inferencer(folder)[0]
        assert 'pred_label' not in sample
        assert make_record(sample)['label'] is None
    scores = sorted(float(s.pred_score) for s in inferencer(folder))
    inferencer.set_thresholds(scores[2])
    for sample in inferencer(folder):
        assert bool(sample.pred_label) == (
            float(sample.pred_score) > np.float32(scores[2]))
        assert ('pred_mask' in sample) == is_calibrated
        if is_calibrated:
            assert sample.pixel_threshold == pixel
        assert sample.false_alarm_rate is None
    inferencer.set_thresholds(scores[2], 1.25)
    for sample in inferencer(folder):
        assert torch.equal(sample.pred_mask, sample.pred_map > 1.25)
    assert inferencer.describe()['pixel_threshold'] == 1.25
    for wrong in (float('nan'), None, 'x'):
        with pytest.raises(InputError, match='`image`'):
            inferencer.set_thresholds(wrong)


def test_without_calibration_all_else_works(inferencer, folder, tmp_path):
    inferencer.model.decision.reset()
    found = inferencer(
        folder, out_dir=tmp_path, return_vis=True, return_datasamples=False)
    for record, drawn in zip(found['predictions'], found['visualization']):
        assert record['score'] is not None
        assert drawn is not None
        assert record['label'] is record['p_value'] is record['regions'] is (
            record['threshold'])
