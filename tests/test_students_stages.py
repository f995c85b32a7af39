"""Uninformed Students through the tools, from stage to stage."""
import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmad.apis import AnomalyInferencer
from mmad.utils import load_checkpoint

CATEGORY = ('--category', 'bottle')


@pytest.fixture(scope='module')
def trained(run_tool, students_config, tmp_path_factory):
    """Work dir of a whole run of four epochs."""
    folder = tmp_path_factory.mktemp('trained_students')
    result = run_tool(folder, 'train.py', students_config, *CATEGORY,
                      '--work-dir', 'work')
    assert result.status == 0, result.err
    return folder / 'work'


def state_of(folder, name='epoch_4.pth'):
    return load_checkpoint(str(folder / name))['state_dict']


def assert_same(folder, trained):
    ours, theirs = state_of(folder), state_of(trained)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name
    assert (folder / 'metrics.json').read_text() == (
        trained / 'metrics.json').read_text()


def test_train(trained):
    assert 0 <= json.loads(
        (trained / 'metrics.json').read_text())['pixel_auroc'] <= 1
    measured, last = state_of(trained, 'epoch_0.pth'), state_of(trained)
    for scale in ('scales.p17.', 'scales.p33.'):
        assert len(measured[scale + 'score_mean']) == 0
        assert len(last[scale + 'score_mean']) == 2
        for name in ('target_mean', 'target_std'):
            assert torch.equal(measured[scale + name], last[scale + name])
    for name, value in measured.items():
        if '.students.' in name:
            assert not torch.equal(value, last[name])
        if '.teacher.' in name:
            assert torch.equal(value, last[name])


def test_checkpoint_is_complete(run_tool, trained, students_config,
                                teacher_files, mvtec_root, tmp_path):
    cfg = Config.fromfile(students_config)
    cfg.model.scales[0].teacher = 'gone.pth'
    cfg.dump(tmp_path / 'config.py')
    result = run_tool(
        tmp_path, 'test.py', 'config.py', trained / 'epoch_4.pth', *CATEGORY,
        '--work-dir', 'test')
    assert result.status == 0, result.err
    assert (tmp_path / 'test/metrics.json').read_text() == (
        trained / 'metrics.json').read_text()
    inferencer = AnomalyInferencer(trained / 'epoch_4.pth', device='cpu')
    sample, = inferencer(mvtec_root / 'bottle/test/hole/000.png')
    assert sample.pred_map.shape == (48, 56)
    assert sample.pred_score == sample.pred_map.max()


def _files(work):
    return {path.name for path in work.glob('epoch_*.pth')}


def _in_statistics(work):
    return (work / 'vis_data').exists()


def _after_statistics(work):
    return (work / 'epoch_0.pth').exists()


def _between_epochs(work):
    return (work / 'epoch_2.pth').exists()


def _before_calibration(work):
    return (work / 'epoch_4.pth').exists()


@pytest.mark.parametrize('moment', [
    _after_statistics, _between_epochs, _before_calibration])
def test_killed_run_goes_on(start_tool, run_tool, students_config, trained,
                            tmp_path, moment):
    command = ('train.py', students_config, *CATEGORY, '--work-dir', 'work')
    process = start_tool(tmp_path, *command)
    work = tmp_path / 'work'
    while process.is_alive() and not any(
            moment(folder) for folder in (work, )):
        time.sleep(0.001)
    process.kill()
    process.join()
    result = run_tool(tmp_path, *command, '--resume')
    assert result.status == 0, result.err
    assert_same(work, trained)
