"""Uninformed Students through the tools, from stage to stage."""
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmad.apis import AnomalyInferencer
from mmad.errors import InputError
from mmad.utils import load_checkpoint
from mmad.utils.config_file import read_config

CATEGORY = ('--category', 'bottle')
CONFIGS = Path(__file__).parents[1] / 'configs/uninformed_students'


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
    assert (folder /
            'metrics.json').read_text() == (trained /
                                            'metrics.json').read_text()


def test_train(trained):
    out = (trained.parent / 'stdout').read_text()
    assert out.count('Measuring the teachers') == 1
    assert out.count('Measuring the students') == 2
    assert 0 <= json.loads(
        (trained / 'metrics.json').read_text())['pixel_auroc'] <= 1
    measured, last = state_of(trained, 'epoch_0.pth'), state_of(trained)
    for scale in ('scales.p17.', 'scales.p33.'):
        assert len(measured[scale + 'score_statistics.mean']) == 0
        assert len(last[scale + 'score_statistics.mean']) == 2
        for name in ('teacher_statistics.mean', 'teacher_statistics.std'):
            assert torch.equal(measured[scale + name], last[scale + name])
    for name, value in measured.items():
        if '.students.' in name:
            assert not torch.equal(value, last[name])
        if '.teacher.' in name:
            assert torch.equal(value, last[name])


def test_checkpoint_is_complete(run_tool, trained, students_config,
                                teacher_files, mvtec_root, tmp_path):
    cfg = read_config(students_config)
    cfg.model.scales[0].teacher = 'gone.pth'
    cfg.dump(tmp_path / 'config.py')
    result = run_tool(tmp_path, 'test.py', 'config.py',
                      trained / 'epoch_4.pth', *CATEGORY, '--work-dir', 'test')
    assert result.status == 0, result.err
    assert (tmp_path /
            'test/metrics.json').read_text() == (trained /
                                                 'metrics.json').read_text()
    inferencer = AnomalyInferencer(trained / 'epoch_4.pth', device='cpu')
    sample, = inferencer(mvtec_root / 'bottle/test/hole/000.png')
    assert sample.pred_map.shape == (48, 56)
    assert sample.pred_score == sample.pred_map.max()


@pytest.mark.parametrize('name', ['epoch_0', 'epoch_2', 'epoch_4'])
def test_killed_run_goes_on(start_tool, run_tool, students_config, trained,
                            tmp_path, name):
    """After the statistics, between epochs, and before the calibration."""
    command = ('train.py', students_config, *CATEGORY, '--work-dir', 'work')
    process = start_tool(tmp_path, *command)
    work = tmp_path / 'work'
    awaited = [work / f'{name}.pth', work / 'last_checkpoint']
    while process.is_alive() and not all(path.exists() for path in awaited):
        time.sleep(0.001)
    process.kill()
    process.join()
    if name == 'epoch_4':
        assert len(state_of(work)['scales.p17.score_statistics.mean']) == 0
    result = run_tool(tmp_path, *command, '--resume')
    assert result.status == 0, result.err
    assert 'Measuring the teachers' not in result.out
    assert_same(work, trained)


def test_not_calibrated(run_tool, students_config, trained, tmp_path):
    result = run_tool(tmp_path, 'test.py', students_config,
                      trained / 'epoch_0.pth', *CATEGORY, '--work-dir', 'test')
    assert result.status == 2
    assert 'is not fitted' in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize(('options', 'words'), [
    (['model.scales.0.teacher=None'
      ], 'there is no `teacher` for the scales p17;'),
    (['model.scales.0.teacher=none.pth'
      ], 'there is no teacher "none.pth" for p = 17; train one with'),
    (['custom_hooks.1.share=0'], '`share` must be'),
    (['train_dataloader.dataset.indices=1'
      ], 'there is only one training image'),
    (['model.data_preprocessor.bgr_to_rgb=False'], "normalization {'mean'"),
])
def test_refused(run_tool, students_config, tmp_path, options, words):
    result = run_tool(tmp_path, 'train.py', students_config, *CATEGORY,
                      '--work-dir', 'work', '--cfg-options', *options)
    assert result.status == 2, result.err
    assert len(result.err.splitlines()) == 1
    assert words in result.err
    assert not list(tmp_path.glob('**/*.pth'))


def test_weights_are_not_the_teachers(run_tool, students_config, tmp_path):
    result = run_tool(tmp_path, 'train.py', students_config, *CATEGORY,
                      '--weights', 'some.pth')
    assert result.status == 2
    assert 'model.scales.0.teacher=FILE' in result.err


TEACHER = """
_base_ = '{root}/configs/uninformed_students/teacher_p17.py'

model = dict(
    network=dict(width=0.02, out_channels=4),
    backbone=dict(_delete_=True, type='TinyBackbone'))
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(length=8, data_root='{data}'))
train_cfg = dict(max_epochs=2)
"""


@pytest.fixture(scope='module')
def teacher_config(tmp_path_factory):
    """Config file of a teacher, on five images of noise."""
    folder = tmp_path_factory.mktemp('teacher')
    rng = np.random.default_rng(0)
    (folder / 'images').mkdir()
    for number in range(5):
        Image.fromarray(rng.integers(256, size=(30, 34, 3),
                                     dtype=np.uint8)).save(
                                         folder / f'images/{number}.png')
    path = folder / 'tiny_teacher.py'
    path.write_text(
        TEACHER.format(root=Path(__file__).parents[1], data=folder / 'images'))
    return path


def test_teacher_then_students(run_tool, start_tool, teacher_config,
                               students_config, tmp_path):
    command = ('train.py', teacher_config)
    result = run_tool(tmp_path, *command)
    assert result.status == 0, result.err
    teacher = tmp_path / 'work_dirs/tiny_teacher/epoch_2.pth'

    process = start_tool(tmp_path, *command, '--work-dir', 'killed')
    killed = tmp_path / 'killed'
    while process.is_alive() and not (killed / 'last_checkpoint').exists():
        time.sleep(0.001)
    process.kill()
    process.join()
    result = run_tool(tmp_path, *command, '--work-dir', 'killed', '--resume')
    assert result.status == 0, result.err
    ours, theirs = state_of(killed,
                            'epoch_2.pth'), state_of(teacher.parent,
                                                     'epoch_2.pth')
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name

    result = run_tool(tmp_path, 'train.py', students_config, *CATEGORY,
                      '--no-validate', '--work-dir', 'students',
                      '--cfg-options', f'model.scales.0.teacher={teacher}',
                      'train_cfg.max_epochs=1')
    assert result.status == 0, result.err
    students = state_of(tmp_path / 'students', 'epoch_1.pth')
    assert torch.equal(students['scales.p17.teacher.layers.0.weight'],
                       theirs['network.layers.0.weight'])


def test_teacher_refuses_anomaly_data(run_tool, teacher_config, mvtec_root,
                                      tmp_path):
    result = run_tool(tmp_path, 'train.py', teacher_config, '--data-root',
                      mvtec_root)
    assert result.status == 2
    assert len(result.err.splitlines()) == 1
    assert 'a teacher must not be trained on' in result.err
    assert not list(tmp_path.glob('work_dirs'))


def test_a_teacher_is_no_detector(run_tool, teacher_files, tmp_path):
    config = CONFIGS / 'teacher_p17.py'
    result = run_tool(tmp_path, 'test.py', config, teacher_files[17])
    assert result.status == 2
    assert result.err.startswith('error: ')
    assert 'PatchTeacher cannot be tested' in result.err
    cfg = Config.fromfile(config)
    cfg.model.backbone.weights = None
    with pytest.raises(InputError, match='which is no detector'):
        AnomalyInferencer(teacher_files[17], cfg)
