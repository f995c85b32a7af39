import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmad.engine.hooks import CalibrationHook
from mmad.errors import InputError
from mmad.models import FitDetector
from mmad.utils import load_checkpoint, setup_environment

HOOK = 'default_hooks.calibration.'


def make_runner(config, folder, **changes):
    cfg = Config.fromfile(config)
    if cfg.model.type == 'PatchCore':
        cfg.model.backbone = dict(type='TinyBackbone')
    cfg.work_dir = str(folder)
    cfg.experiment_name = folder.name
    for loader in ('train', 'val', 'test'):
        cfg[f'{loader}_dataloader'].dataset.category = 'bottle'
    cfg.merge_from_dict({HOOK + 'false_alarm_rate': 0.3})
    cfg.merge_from_dict(changes)
    setup_environment()
    return Runner.from_cfg(cfg)


def train(config, folder, **changes):
    runner = make_runner(config, folder, **changes)
    runner.train()
    record = json.loads(Path(folder, 'calibration.json').read_text())
    return runner.model.eval(), record


def training_samples(runner_or_config):
    cfg = Config.fromfile(runner_or_config)
    cfg.train_dataloader.dataset.category = 'bottle'
    dataset = Runner.build_dataloader(cfg.train_dataloader).dataset
    return [dataset[i] for i in range(len(dataset))]


@pytest.mark.parametrize('name', ['config', 'fyd_config'])
def test_scores_are_of_images_left_out(name, request, tmp_path, monkeypatch):
    config = request.getfixturevalue(name)
    # So that it can be scored again below.
    monkeypatch.setattr(FitDetector, 'end_calibration', lambda self: None)
    model, record = train(config, tmp_path)
    expected = {}
    for packed in training_samples(config):
        data = model.data_preprocessor(
            dict(
                inputs=[packed['inputs']],
                data_samples=[packed['data_samples']]))
        sample, = data['data_samples']
        with torch.no_grad(), model.leaving_out([sample.sample_idx]):
            score, maps = model.score(data['inputs'])
        expected[sample.img_path] = float(score), float(maps.max())
    found = {entry['path']: entry['score'] for entry in record['images']}
    assert found == pytest.approx(
        {
            path: score
            for path, (score, _) in expected.items()
        }, rel=1e-5)
    scores, peaks = (
        torch.tensor(sorted(each))
        for each in zip(*expected.values(), strict=True))
    decision = model.decision
    torch.testing.assert_close(decision.scores, scores, rtol=1e-5, atol=0)
    torch.testing.assert_close(decision.peaks, peaks, rtol=1e-5, atol=0)
    # The 6th of 7: ceil(8 * 0.7).
    assert decision.thresholds[0] == decision.scores[5]
    assert decision.thresholds[1] == decision.peaks[5]
    assert record['image_threshold'] == float(decision.thresholds[0])
    assert record['calibration'] == 'leave_one_out'
    assert [e['score']
            for e in record['images']] == decision.scores.flip(0).tolist()


@pytest.mark.parametrize('name', ['config', 'mkd_config', 'students_config'])
def test_held_out_images_are_not_learned_from(name, request, tmp_path):
    config = request.getfixturevalue(name)
    runner = make_runner(config, tmp_path, **{
        HOOK + 'method': 'held_out',
        HOOK + 'share': 0.3
    })
    seen = set()
    step = runner.model.train_step

    def noting(data, *args, **kwargs):
        seen.update(sample.img_path for sample in data['data_samples'])
        return step(data, *args, **kwargs)

    runner.model.train_step = noting
    runner.train()
    record = json.loads((tmp_path / 'calibration.json').read_text())
    held = {entry['path'] for entry in record['images']}
    every = {one['data_samples'].img_path for one in training_samples(config)}
    assert held
    assert held < every
    assert not held & seen
    rest = len(every) - len(held)
    # Uninformed Students keep two more for their statistics.
    assert len(seen) == rest - 2 * (name == 'students_config')
    for entry in record['images']:
        packed, = (
            one for one in training_samples(config)
            if one['data_samples'].img_path == entry['path'])
        sample, = runner.model.eval().test_step(
            dict(
                inputs=[packed['inputs']],
                data_samples=[packed['data_samples']]))
        assert sample.pred_score.item() == pytest.approx(entry['score'])


def test_thresholds_are_in_the_checkpoint(config, tmp_path):
    model, record = train(config, tmp_path)
    path = tmp_path / 'epoch_1.pth'
    state = load_checkpoint(str(path))['state_dict']
    assert state['decision.thresholds'].equal(model.decision.thresholds)
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    conditions = metrics['conditions']
    assert conditions['image_threshold'] == record['image_threshold']
    assert conditions['wanted_false_alarm_rate'] == 0.3
    assert 0 <= metrics['image_false_alarm_rate'] <= 1
    assert 0 <= metrics['image_recall'] <= 1


@pytest.mark.parametrize('number', [1, 2, 5, 100])
def test_most_images(config, tmp_path, number):
    _, record = train(config, tmp_path, **{HOOK + 'max_images': number})
    assert len(record['images']) == {1: 1, 2: 2, 5: 4, 100: 7}[number]


def test_a_rate_that_so_few_images_cannot_tell(config, tmp_path):
    model, record = train(config, tmp_path,
                          **{HOOK + 'false_alarm_rate': 0.01})
    assert record['false_alarm_rate'] == 1 / 8
    assert model.decision.thresholds[0] == model.decision.scores[-1]
    log, = tmp_path.glob('*/*.log')
    assert ('7 normal images cannot tell a false-alarm rate below 12 %'
            in log.read_text())


def test_best_f1(config, tmp_path):
    _, record = train(config, tmp_path, **{HOOK + 'threshold': 'best_f1'})
    assert record['threshold_kind'] == 'best_f1'
    assert record['false_alarm_rate'] is None
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    precision, recall = metrics['image_precision'], metrics['image_recall']
    f1 = 2 * precision * recall / (precision + recall)
    assert f1 == pytest.approx(metrics['image_f1max'])


def test_best_f1_of_normal_images_only_is_conformal(config, tmp_path):
    model, record = train(
        config, tmp_path, **{
            HOOK + 'threshold': 'best_f1',
            'val_dataloader.dataset.split': 'train'
        })
    assert record['threshold_kind'] == 'conformal'
    assert model.decision.conditions['false_alarm_rate'] == 0.3
    assert list(tmp_path.glob('epoch_1.pth'))


def test_given_thresholds(config, tmp_path):
    model, record = train(
        config, tmp_path, **{
            HOOK + 'threshold': 1.25,
            HOOK + 'pixel_threshold': 0.5
        })
    assert model.decision.thresholds.tolist() == [1.25, 0.5]
    assert record['threshold_kind'] == 'given'


def test_resumed_in_the_middle_of_a_calibration(config, tmp_path):
    whole, _ = train(config, tmp_path / 'whole')

    runner = make_runner(config, tmp_path / 'killed')
    hook, = (h for h in runner.hooks if isinstance(h, CalibrationHook))

    def kill(*args):
        raise RuntimeError('killed')

    hook._score = kill
    with pytest.raises(RuntimeError, match='killed'):
        runner.train()
    checkpoint = str(tmp_path / 'killed/epoch_1.pth')
    before = load_checkpoint(checkpoint)['state_dict']
    assert not len(before['decision.thresholds'])
    assert before['memory_bank.rows'].equal(
        whole.state_dict()['memory_bank.rows'])
    # Only the calibration needs them.
    assert len(before['memory_bank.fill_rows'])
    assert not len(whole.memory_bank.fill_rows)
    model, _ = train(
        config, tmp_path / 'killed', resume=True, load_from=checkpoint)
    state = load_checkpoint(checkpoint)['state_dict']
    for name, value in whole.state_dict().items():
        assert torch.equal(state[name], value)
        assert torch.equal(model.state_dict()[name], value)


def test_an_epoch_forgets_the_thresholds(mkd_config, tmp_path):
    train(
        mkd_config, tmp_path, **{
            HOOK + 'method': 'held_out',
            'default_hooks.checkpoint.interval': 1
        })
    numbers = [
        len(
            load_checkpoint(str(
                tmp_path /
                f'epoch_{epoch}.pth'))['state_dict']['decision.thresholds'])
        for epoch in range(1, 5)
    ]
    assert numbers == [0, 2, 0, 2]


def test_no_method_of_its_own(mkd_config, tmp_path):
    runner = make_runner(mkd_config, tmp_path)
    runner.train()
    assert not runner.model.decision.is_fitted
    assert not (tmp_path / 'calibration.json').exists()
    log, = tmp_path.glob('*/*.log')
    assert 'No threshold: MKD cannot leave an image out' in log.read_text()


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(method='jackknife'), '`method`'),
    (dict(false_alarm_rate=0), '`false_alarm_rate`'),
    (dict(false_alarm_rate=1), '`false_alarm_rate`'),
    (dict(share=1), '`share`'),
    (dict(threshold='f1'), '`threshold`'),
    (dict(threshold=float('nan')), '`threshold`'),
    (dict(max_images=0), '`max_images`'),
    (dict(pixel_threshold='x'), '`pixel_threshold`'),
])
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        CalibrationHook(**arguments)


@pytest.mark.parametrize(('changes', 'message'), [
    ({
        HOOK + 'method': 'leave_one_out'
    }, 'MKD cannot leave an image out'),
    ({
        'val_cfg': None,
        'val_dataloader': None,
        'val_evaluator': None,
        HOOK + 'method': 'held_out',
        HOOK + 'threshold': 'best_f1'
    }, 'needs validation images'),
])
def test_refused_before_the_training(mkd_config, tmp_path, changes, message):
    runner = make_runner(mkd_config, tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        runner.train()
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.parametrize('method', ['held_out', 'off'])
def test_nothing_is_prepared_that_is_not_needed(config, tmp_path, monkeypatch,
                                                method):

    def fill(*args):
        raise AssertionError('no image is left out')

    monkeypatch.setattr('mmad.models.layers.coreset_bank.fill_coreset', fill)
    runner = make_runner(config, tmp_path, **{HOOK + 'method': method})
    runner.train()
    assert not len(runner.model.memory_bank.fill_rows)
    assert runner.model.decision.is_fitted == (method == 'held_out')
