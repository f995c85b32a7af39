"""`tools/sweep.py`: real ones of two categories, quick ones of many."""
import json
import os
import runpy
import shutil
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmad.datasets import MVTecAD

ROOT = Path(__file__).resolve().parents[1]
MVTEC = ROOT / 'configs/patchcore/patchcore_resnet18_1pct_mvtec.py'
DEMO = ROOT / 'configs/patchcore/patchcore_demo.py'
FOLDER = ROOT / 'configs/patchcore/patchcore_resnet18_10pct_folder.py'


@pytest.fixture(autouse=True)
def package_is_found(monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))


@pytest.fixture(scope='module')
def tool():
    """What `tools/sweep.py` defines."""
    return runpy.run_path(str(ROOT / 'tools/sweep.py'))


def quick_sweep_in(folder):
    shutil.copy(ROOT / 'tools/sweep_table.py', folder)
    return Path(shutil.copy(ROOT / 'tools/sweep.py', folder))


@pytest.fixture
def quick_sweep(quick_tools):
    """The sweep beside stand-ins for the tools that it starts."""
    return quick_sweep_in(quick_tools)


def calls(work_dir, category):
    lines = (work_dir / category / 'calls').read_text().splitlines()
    return [json.loads(line) for line in lines]


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
    assert len(names) == 7
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
    (FOLDER, [], 'the FolderDataset of this config has no `category`'),
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


FIT, TEST = ('train', '--no-validate'), ('test', )
NAMES = ('bolt', 'gear', 'nut')


@pytest.fixture
def sweep(run_tool, quick_tools, tmp_path):
    """Sweep three categories with stand-ins for the tools it starts."""
    quick = quick_sweep_in(quick_tools)
    for name in NAMES:
        (tmp_path / 'data' / name / 'train/good').mkdir(parents=True)
        (tmp_path / 'work' / name).mkdir(parents=True)
    (tmp_path / 'data/notes/train').mkdir(parents=True)

    def run(*options):
        return run_tool(tmp_path, quick, DEMO, '--data-root', 'data',
                        '--work-dir', 'work', *options)

    return run


def spoil(tmp_path, category, tool, text):
    (tmp_path / 'work' / category / f'{tool}.spoil').write_text(text)


def mend(tmp_path, category, tool):
    (tmp_path / 'work' / category / f'{tool}.spoil').unlink()


def steps(tmp_path, category):
    return [(call['tool'], *call['options'])
            for call in calls(tmp_path / 'work', category)]


def written(tmp_path):
    return json.loads((tmp_path / 'work/sweep.json').read_text())


def test_one_failure_takes_nothing_along(sweep, tmp_path):
    spoil(tmp_path, 'gear', 'train', 'sys.exit("error: no gears.")')
    result = sweep()
    assert result.status == 1
    assert list(written(tmp_path)['categories']) == ['bolt', 'nut']
    assert written(tmp_path)['failed'] == dict(gear='no gears.')
    lines = result.out.splitlines()
    assert lines[0] == 'bolt: started'
    assert lines[1].startswith(
        'bolt: image_auroc 75.0%, aupro undefined (fit ')
    assert lines[3] == 'gear: FAILED, no gears. (log: work/gear/sweep.log)'
    assert lines[-1] == ('Failed: gear. Correct the cause and run again with '
                         '--resume.')
    assert steps(tmp_path, 'bolt') == [FIT, TEST]
    log = (tmp_path / 'work/bolt/sweep.log').read_text().splitlines()
    assert log[1::2] == ['Some words'] * 2
    assert 'train.py' in log[0]
    assert 'epoch_1.pth' in log[2]


def test_resume_ends_it(sweep, tmp_path):
    spoil(tmp_path, 'gear', 'train', 'sys.exit("no gears")')
    sweep()
    mend(tmp_path, 'gear', 'train')
    result = sweep('--resume')
    assert result.status == 0
    assert not written(tmp_path)['failed']
    assert list(written(tmp_path)['categories']) == list(NAMES)
    assert steps(tmp_path, 'bolt') == [FIT, TEST]
    assert result.out.splitlines()[:3] == [
        'bolt: finished before', 'nut: finished before', 'gear: started'
    ]


@pytest.mark.parametrize(('tool', 'text', 'words'), [
    ('test', 'raise KeyError("bug\\n\\n")', "KeyError: "),
    ('test', 'os.kill(os.getpid(), 9)', 'ended by SIGKILL, often for lack'),
    ('train', 'os.abort()', 'ended by SIGABRT.'),
    ('train', 'sys.exit(0)', 'the fit wrote no checkpoint'),
    ('test', 'sys.exit(0)', 'the test wrote no metrics.json'),
])
def test_failures(sweep, tmp_path, tool, text, words):
    spoil(tmp_path, 'nut', tool, text)
    assert sweep('--categories', 'nut').status == 1
    assert written(tmp_path)['failed']['nut'].startswith(words)
    record = json.loads((tmp_path / 'work/nut/sweep_record.json').read_text())
    assert 'result' not in record
    assert ('fit_seconds' in record) == (tool == 'test')


def test_resume_repeats_a_failed_test_only(sweep, tmp_path):
    spoil(tmp_path, 'nut', 'test', 'sys.exit(1)')
    sweep('--categories', 'nut')
    mend(tmp_path, 'nut', 'test')
    assert sweep('--categories', 'nut', '--resume').status == 0
    assert steps(tmp_path, 'nut') == [FIT, TEST, TEST]
    assert written(tmp_path)['categories']['nut']['fit_seconds'] > 0


CHECKPOINT = ('(folder / "epoch_1.pth").touch();'
              '(folder / "last_checkpoint").write_text('
              'str(folder / "epoch_1.pth"));')


def test_resume_goes_on_from_a_checkpoint(sweep, tmp_path):
    spoil(tmp_path, 'nut', 'train', CHECKPOINT + 'sys.exit(1)')
    sweep('--categories', 'nut')
    mend(tmp_path, 'nut', 'train')
    assert sweep('--categories', 'nut', '--resume').status == 0
    assert steps(tmp_path, 'nut') == [FIT, (*FIT, '--resume'), TEST]
    # How long the part before took is not known.
    assert written(tmp_path)['categories']['nut']['fit_seconds'] is None
    assert ' - ' in (tmp_path / 'work/sweep.md').read_text()


def test_resume_fits_anew_without_the_checkpoint(sweep, tmp_path):
    spoil(tmp_path, 'nut', 'test', 'sys.exit(1)')
    sweep('--categories', 'nut')
    (tmp_path / 'work/nut/epoch_1.pth').unlink()
    # Half a fit is not tested either.
    spoil(tmp_path, 'nut', 'train', CHECKPOINT + 'sys.exit(1)')
    sweep('--categories', 'nut', '--resume')
    sweep('--categories', 'nut', '--resume')
    assert steps(tmp_path, 'nut') == [FIT, TEST, FIT, (*FIT, '--resume')]


def test_resume_with_another_config(sweep, tmp_path):
    sweep('--categories', 'nut', 'gear')
    result = sweep('--categories', 'nut', '--resume', '--cfg-options',
                   'model.coreset_ratio=0.5')
    assert 'nut: the config has changed, starting again' in result.out
    assert steps(tmp_path, 'nut') == [FIT, TEST] * 2
    # The other one is as it was.
    assert 'gear: finished before' in sweep('--categories', 'gear',
                                            '--resume').out


def test_resume_does_not_take_up_a_run_by_hand(sweep, tmp_path):
    folder = tmp_path / 'work/nut'
    (folder / 'epoch_1.pth').touch()
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
    sweep('--categories', 'nut', '--resume')
    assert steps(tmp_path, 'nut') == [FIT, TEST]


def test_without_resume_all_is_done_anew(sweep, tmp_path):
    sweep('--categories', 'nut', 'bolt')
    # Whatever fails now leaves nothing for --resume to take up.
    spoil(tmp_path, 'nut', 'train', 'sys.exit(1)')
    sweep('--categories', 'nut', 'bolt')
    assert list(written(tmp_path)['categories']) == ['bolt']
    assert steps(tmp_path, 'bolt') == [FIT, TEST] * 2
    log = (tmp_path / 'work/bolt/sweep.log').read_text()
    assert len(log.splitlines()) == 4


def test_a_bug_of_the_sweep_keeps_its_traceback(sweep, tmp_path):
    spoil(tmp_path, 'nut', 'test',
          '(folder / "metrics.json").write_text("{"); sys.exit(0)')
    result = sweep('--categories', 'nut')
    assert result.status == 1
    assert 'JSONDecodeError' in result.err
