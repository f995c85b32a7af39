import json
import shutil
from statistics import fmean, stdev

import numpy as np
import pytest
import torch

from mmad.engine import ReportHook
from mmad.errors import InputError
from mmad.evaluation.report import describe_conditions

LOOP = dict(type='CheckpointMeanLoop', num_checkpoints=2)
NAMES = ('epoch_2.pth', 'epoch_9.pth', 'epoch_10.pth')


@pytest.fixture
def checkpoints(make_runner, tmp_path):
    """Folder of three MKDs with different weights, beside other files."""
    runner = make_runner('mkd_config')
    model = runner.model
    model.fit_state.finalize()
    for seed, name in enumerate(NAMES):
        torch.manual_seed(seed)
        for parameter in model.cloner.parameters():
            parameter.data = torch.randn_like(parameter)
        model.weight.fill_(0.1 + seed)
        runner.save_checkpoint(
            str(tmp_path),
            name,
            save_optimizer=False,
            save_param_scheduler=False)
    shutil.copy(tmp_path / NAMES[0], tmp_path / 'epoch_x.pth')
    shutil.copy(tmp_path / NAMES[0], tmp_path / 'epoch_11.pth')
    return tmp_path


@pytest.fixture
def test(make_runner, checkpoints):
    """Test a checkpoint with a loop: runner, returned and written metrics."""

    def run(name, loop, with_report=True):
        folder = checkpoints / f'test_{len(list(checkpoints.iterdir()))}'
        runner = make_runner(
            'mkd_config',
            folder=folder,
            test_cfg=loop,
            load_from=str(checkpoints / name))
        if not with_report:
            runner._hooks = [
                hook for hook in runner.hooks
                if not isinstance(hook, ReportHook)
            ]
        metrics, file = runner.test(), folder / 'metrics.json'
        report = json.loads(file.read_text()) if file.is_file() else None
        return runner, metrics, report

    return run


def test_mean_and_spread_of_the_last(test):
    singles = {name: test(name, dict())[2] for name in NAMES[1:]}
    first, second = singles.values()

    runner, metrics, report = test(NAMES[-1], LOOP)

    names = [
        name for name in first if name not in ('per_defect_type', 'conditions')
    ]
    assert len(names) > 5
    assert first != second
    conditions = report['conditions']
    for name in names:
        values = [first[name], second[name]]
        assert report[name] == metrics[name] == pytest.approx(fmean(values))
        assert conditions['spread'][name] == pytest.approx(stdev(values))
    for kind, row in report['per_defect_type'].items():
        for name, value in row.items():
            assert value == pytest.approx(
                fmean(one['per_defect_type'][kind][name]
                      for one in (first, second)))
    assert conditions['checkpoints'] == {
        name: {
            key: singles[name][key]
            for key in names
        }
        for name in NAMES[1:]
    }
    assert conditions['images'] == first['conditions']['images']
    assert ('mean over 2 checkpoints, from epoch_9.pth to epoch_10.pth'
            in describe_conditions(conditions))
    # The model that is left, and its predictions, are those of the last.
    assert float(runner.model.weight) == pytest.approx(2.1)


def test_one_checkpoint_is_no_mean(test):
    _, _, alone = test(NAMES[0], dict())
    _, _, report = test(NAMES[0], dict(LOOP, num_checkpoints=1))
    assert report['conditions'].pop('spread') == {}
    assert list(report['conditions'].pop('checkpoints')) == [NAMES[0]]
    assert report == alone
    assert 'checkpoints' not in describe_conditions(report['conditions'])


def test_undefined_for_one_is_undefined_for_all(test, monkeypatch):
    write, calls = ReportHook.after_test_epoch, []

    def spoil(hook, runner, metrics):
        metrics['image_auroc'] = [np.nan, 1.0][len(calls)]
        calls.append(metrics)
        write(hook, runner, metrics)

    monkeypatch.setattr(ReportHook, 'after_test_epoch', spoil)
    _, metrics, report = test(NAMES[-1], LOOP)
    assert len(calls) == 2
    assert report['image_auroc'] == metrics['image_auroc'] == 'undefined'
    spread = report['conditions']['spread']
    assert 'image_auroc' not in spread
    assert spread['pixel_auroc'] > 0
    assert 0 <= report['pixel_auroc'] <= 1


def test_without_metrics(test, monkeypatch):
    monkeypatch.setattr('mmengine.evaluator.Evaluator.evaluate',
                        lambda self, size: {})
    _, metrics, report = test(NAMES[-1], LOOP)
    assert metrics == {}
    assert report is None


def test_without_a_report_hook(test):
    _, metrics, report = test(NAMES[-1], LOOP, with_report=False)
    assert report is None
    assert 0 <= metrics['image_auroc'] <= 1


def test_behind_a_training(make_runner, tmp_path):
    runner = make_runner('mkd_config', test_cfg=LOOP)
    runner.train()
    runner.test()
    report = json.loads((tmp_path / 'metrics.json').read_text())
    assert list(
        report['conditions']['checkpoints']) == ['epoch_1.pth', 'epoch_2.pth']


@pytest.mark.parametrize(
    ('name', 'loop', 'message'),
    [(NAMES[1], dict(LOOP, num_checkpoints=3), 'needs as many up to ".*'
      'epoch_9.pth" in its folder, which has 2; keep more'),
     ('epoch_x.pth', LOOP, 'which has 1; keep more'),
     (NAMES[1], dict(LOOP, num_checkpoints=0), '`num_checkpoints` must be')])
def test_what_is_refused(test, name, loop, message):
    with pytest.raises(InputError, match=message):
        test(name, loop)
