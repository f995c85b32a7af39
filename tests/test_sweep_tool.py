"""`tools/sweep.py`: a real one of two categories, quick ones of many."""
import json
import os
import runpy
import shutil
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from run_tools import calls

from mmad.datasets import MVTecAD
from mmad.evaluation.report import IMAGE_METRICS, PIXEL_METRICS

ROOT = Path(__file__).resolve().parents[1]
MVTEC = ROOT / 'configs/patchcore/patchcore_resnet18_1pct_mvtec.py'
DEMO = ROOT / 'configs/patchcore/patchcore_demo.py'


@pytest.fixture(autouse=True)
def package_is_found(monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))


@pytest.fixture(scope='module')
def tool():
    """What `tools/sweep.py` defines."""
    return runpy.run_path(str(ROOT / 'tools/sweep.py'))


@pytest.mark.slow
def test_broken_category_is_named_and_resumed_after_its_repair(
        run_tool, config, own_root, tmp_path):
    shutil.copytree(own_root / 'bottle', own_root / 'gear')
    image = own_root / 'gear/test/hole/001.png'
    whole = image.read_bytes()
    image.write_bytes(whole[:-500])
    command = ('sweep.py', config, '--data-root', own_root, '--work-dir',
               'work', '--jobs', '2', '--cfg-options',
               'model.coreset_ratio=1.0')

    result = run_tool(tmp_path, *command)

    assert result.status == 1, result.err
    *_, last = result.out.splitlines()
    assert last == ('Failed: gear. Correct the cause and run again with '
                    '--resume.')
    table = (tmp_path / 'work/sweep.md').read_text()
    assert 'gear failed: image' in table
    assert 'hole/001.png" cannot be read' in table
    assert '| mean of 1 of 2 |' in table
    assert table in result.out
    assert 'hole/001.png' in (tmp_path / 'work/gear/sweep.log').read_text()

    image.write_bytes(whole)
    result = run_tool(tmp_path, *command, '--resume')

    assert result.status == 0, result.err
    assert 'bottle: finished before' in result.out
    content = json.loads((tmp_path / 'work/sweep.json').read_text())
    mean, = content['means']
    assert mean['name'] == 'mean'
    # The same images, so the same figures, that of the mean included.
    names = mean['metrics']
    assert set(names) == {
        *IMAGE_METRICS, *PIXEL_METRICS, 'image_precision', 'image_recall',
        'image_false_alarm_rate'
    }
    for row in content['categories'].values():
        assert {name: row['metrics'][name] for name in names} == names
    for name in ('bottle', 'gear'):
        folder = tmp_path / 'work' / name
        metrics = json.loads((folder / 'metrics.json').read_text())
        assert names['image_auroc'] == metrics['image_auroc'] > 0.5
        cfg = Config.fromfile(folder / 'sweep_config/tiny.py')
        assert cfg.model.coreset_ratio == 1.0
        assert cfg.train_dataloader.dataset.category == name


def test_all_categories_with_means_as_papers_print_them(
        run_tool, quick_sweep, tmp_path):
    result = run_tool(tmp_path, quick_sweep, MVTEC, '--jobs', '3')
    assert result.status == 0, result.err
    work_dir = tmp_path / 'work_dirs' / MVTEC.stem
    content = json.loads((work_dir / 'sweep.json').read_text())
    assert list(content['categories']) == list(MVTecAD.CATEGORIES)
    assert [(mean['name'], mean['of'])
            for mean in content['means']] == [('mean of textures', 5),
                                              ('mean of objects', 10),
                                              ('mean', 15)]


def test_some_categories(run_tool, quick_sweep, tmp_path):
    (tmp_path / 'here.pth').touch()
    result = run_tool(tmp_path, quick_sweep, MVTEC, '--categories', 'zipper',
                      'cable', 'zipper', '--weights', 'here.pth')
    assert result.status == 0, result.err
    work_dir = tmp_path / 'work_dirs' / MVTEC.stem
    assert '| mean of 2 of 15' in (work_dir / 'sweep.md').read_text()
    content = json.loads((work_dir / 'sweep.json').read_text())
    assert list(content['categories']) == ['zipper', 'cable']
    assert len(content['left_out']) == 13
    cfg = Config.fromfile(work_dir / 'cable/sweep_config' / MVTEC.name)
    assert cfg.model.backbone.weights == 'here.pth'


def test_gpus_are_shared_out(run_tool, quick_sweep, tmp_path, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,6')
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 8)
    work_dir = tmp_path / 'work'
    for name, other in (('cable', 'zipper'), ('zipper', 'cable')):
        (work_dir / name).mkdir(parents=True)
        (work_dir / name / 'train.spoil').write_text(
            'deadline = time.time() + 30\n'
            f'while not (folder.parent / "{other}" / "calls").exists():\n'
            '    assert time.time() < deadline\n')
    result = run_tool(tmp_path, quick_sweep, MVTEC, '--categories', 'cable',
                      'zipper', '--work-dir', work_dir, '--jobs', '2')
    assert result.status == 0, result.out
    for name, gpu in (('cable', '4'), ('zipper', '6')):
        for call in calls(work_dir, name):
            assert call['env']['CUDA_VISIBLE_DEVICES'] == gpu
            assert call['env']['OMP_NUM_THREADS'] == '4'


def test_terminated(start_tool, quick_sweep, tmp_path):
    work_dir = tmp_path / 'work'
    (work_dir / 'cable').mkdir(parents=True)
    (work_dir / 'cable/train.spoil').write_text('time.sleep(60)')
    process = start_tool(tmp_path, quick_sweep, MVTEC, '--work-dir', work_dir,
                         '--categories', 'bottle', 'cable')
    while not (work_dir / 'cable/calls').exists() and process.is_alive():
        time.sleep(0.02)
    time.sleep(0.2)
    process.terminate()
    process.join()
    assert process.exitcode == 130
    assert 'Use --resume to continue' in (tmp_path / 'stdout').read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(calls(work_dir, 'cable')[0]['pid'], 0)
    table = (work_dir / 'sweep.md').read_text()
    assert '| bottle ' in table
    assert 'Not finished: cable.' in table


@pytest.mark.parametrize(('path', 'options', 'words'), [
    (MVTEC, ['--categories', 'cable', 'bottel'
             ], 'MVTecAD has no category "bottel"; it has bottle, cable'),
    (MVTEC, ['--jobs', '0'], '--jobs must be at least 1, got 0'),
    (MVTEC, ['--work-dir', ''], '--work-dir is empty'),
    (DEMO, ['--data-root', 'none'
            ], 'there is no CATEGORY/train/good in "none"'),
    ('none.py', [], 'config "none.py" does not exist'),
])
def test_bad_input(run_tool, tmp_path, path, options, words):
    result = run_tool(tmp_path, 'sweep.py', path, *options)
    assert result.status == 2
    assert result.err.startswith('error: ')
    assert len(result.err.splitlines()) == 1
    assert words in result.err
    assert not (tmp_path / 'work_dirs').exists()


@pytest.mark.parametrize(
    ('jobs', 'visible', 'count', 'runs', 'slots'),
    [
        (None, None, 0, 15, [{}]),
        (None, '', 0, 15, [{}]),
        (2, None, 0, 15, [{
            'OMP_NUM_THREADS': '3'
        }] * 2),
        (99, None, 0, 3, [{
            'OMP_NUM_THREADS': '2'
        }] * 3),
        (8, None, 0, 9, [{
            'OMP_NUM_THREADS': '1'
        }] * 8),
        (None, '5', 1, 15, [{
            'CUDA_VISIBLE_DEVICES': '5'
        }]),
        (None, 'GPU-1a', 1, 15, [{
            'CUDA_VISIBLE_DEVICES': 'GPU-1a'
        }]),
        (None, None, 2, 15, [{
            'CUDA_VISIBLE_DEVICES': gpu,
            'OMP_NUM_THREADS': '3'
        } for gpu in '01']),
        # What CUDA makes of it.
        (None, '2,-1,5', 1, 15, [{
            'CUDA_VISIBLE_DEVICES': '2'
        }]),
        (3, '5, 7', 2, 15, [{
            'CUDA_VISIBLE_DEVICES': gpu,
            'OMP_NUM_THREADS': '2'
        } for gpu in '575']),
    ])
def test_make_slots(tool, monkeypatch, jobs, visible, count, runs, slots):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 6)
    for name in ('OMP_NUM_THREADS', 'CUDA_VISIBLE_DEVICES'):
        monkeypatch.delenv(name, raising=False)
    if visible is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    assert tool['make_slots'](jobs, runs) == slots


def test_own_number_of_threads_stands(tool, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '5')
    assert tool['make_slots'](2, 4) == [{}, {}]
