import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmad.apis import AnomalyInferencer
from mmad.models import TorchvisionBackbone
from mmad.utils import load_checkpoint

TOOLS = Path(__file__).resolve().parents[1] / 'tools'
CATEGORY = ('--category', 'bottle')


@pytest.fixture(scope='module')
def trained(run_tool, config, tmp_path_factory):
    """Folder of a finished run of `tools/train.py`, work dir `work`."""
    folder = tmp_path_factory.mktemp('trained')
    result = run_tool(folder, 'train.py', config, *CATEGORY, '--work-dir',
                      'work')
    assert result.status == 0, result.err
    return folder


def metrics(folder):
    return (folder / 'metrics.json').read_bytes()


def is_one_sentence(result):
    lines = result.err.splitlines()
    return (result.status == 2 and len(lines) == 1
            and lines[0].startswith('error: '))


def test_train(trained):
    report = json.loads(metrics(trained / 'work'))
    assert set(report['per_defect_type']) == {'hole', 'scratch'}
    assert 0 <= report['image_auroc'] <= 1
    assert report['pixel_auroc'] > 0.8
    state = load_checkpoint(str(trained / 'work' / 'epoch_1.pth'))
    assert len(state['state_dict']['memory_bank.rows']) == 25


def test_test_repeats_the_metrics_and_draws(run_tool, config, trained,
                                            tmp_path):
    result = run_tool(tmp_path, 'test.py', config,
                      trained / 'work' / 'epoch_1.pth', *CATEGORY,
                      '--work-dir', 'test', '--show-dir', 'maps')
    assert result.status == 0, result.err
    assert metrics(tmp_path / 'test') == metrics(trained / 'work')
    drawn = sorted(tmp_path.glob('maps/*/*.png'))
    assert [f'{p.parent.name}/{p.stem}' for p in drawn] == [
        'good/000', 'good/001', 'good/002', 'hole/000', 'hole/001',
        'scratch/000', 'scratch/001', 'scratch/002'
    ]
    assert cv2.imread(str(drawn[0])).shape == (24 + 48, 3 * 48, 3)


def test_heat_maps_of_the_originals(run_tool, config, trained, tmp_path):
    result = run_tool(tmp_path, 'test.py', config,
                      trained / 'work' / 'epoch_1.pth', *CATEGORY,
                      '--work-dir', 'test', '--show-dir', 'maps',
                      '--cfg-options',
                      'default_hooks.visualization.frame=original')
    assert result.status == 0, result.err
    drawn = sorted(tmp_path.glob('maps/*/*.png'))
    assert len(drawn) == 8
    assert {cv2.imread(str(path)).shape
            for path in drawn} == {(24 + 48, 3 * 56, 3)}


def test_no_validation(run_tool, config, trained, tmp_path):
    result = run_tool(tmp_path, 'train.py', config, *CATEGORY, '--no-validate')
    assert result.status == 0, result.err
    work_dir = tmp_path / 'work_dirs' / 'tiny' / 'bottle'
    assert not (work_dir / 'metrics.json').exists()
    states = [
        load_checkpoint(str(folder / 'epoch_1.pth'))['state_dict']
        for folder in (work_dir, trained / 'work')
    ]
    assert all(
        torch.equal(states[0][name], value)
        for name, value in states[1].items())


def test_weights_from_a_file(run_tool, config, tmp_path):
    torch.manual_seed(1)
    backbone = TorchvisionBackbone('resnet18', ['layer2', 'layer3'], None)
    torch.save(backbone.body.state_dict(), tmp_path / 'weights.pth')
    result = run_tool(tmp_path, 'train.py', config, *CATEGORY, '--no-validate',
                      '--weights', 'weights.pth')
    assert result.status == 0, result.err
    found = load_checkpoint(
        str(tmp_path / 'work_dirs/tiny/bottle/epoch_1.pth'))['state_dict']
    for name, value in backbone.state_dict().items():
        assert torch.equal(found[f'backbone.{name}'], value)


@pytest.fixture(scope='module')
def trained_mkd(run_tool, mkd_config, tmp_path_factory):
    """Folder of a training by gradients, four epochs."""
    folder = tmp_path_factory.mktemp('trained_mkd')
    result = run_tool(folder, 'train.py', mkd_config, *CATEGORY, '--work-dir',
                      'work')
    assert result.status == 0, result.err
    return folder / 'work'


def test_training_by_gradients_resumes(run_tool, mkd_config, trained_mkd,
                                       tmp_path):
    result = run_tool(tmp_path, 'train.py', mkd_config, *CATEGORY,
                      '--work-dir', 'work', '--resume',
                      trained_mkd / 'epoch_2.pth')
    assert result.status == 0, result.err
    states = [
        load_checkpoint(str(folder / 'epoch_4.pth'))['state_dict']
        for folder in (tmp_path / 'work', trained_mkd)
    ]
    for name, value in states[1].items():
        assert torch.equal(states[0][name], value), name


def test_metrics_of_mkd(trained_mkd):
    report = json.loads(metrics(trained_mkd))
    assert report['conditions']['anomalous_only/anomalous_only'] is True
    assert report['pixel_auroc'] != report['anomalous_only/pixel_auroc']
    assert 0 <= report['image_auroc'] <= 1


def test_checkpoint_of_mkd_is_complete(trained_mkd, mvtec_root):
    inferencer = AnomalyInferencer(trained_mkd / 'epoch_4.pth', device='cpu')
    assert inferencer.model.weight > 0
    sample, = inferencer(mvtec_root / 'bottle/test/hole/000.png')
    assert sample.pred_map.shape == (48, 56)
    assert sample.pred_map.std() > 0


@pytest.fixture(scope='module')
def trained_fyd(run_tool, fyd_config, tmp_path_factory):
    """Folder of a training by gradients with a fit behind it."""
    folder = tmp_path_factory.mktemp('trained_fyd')
    result = run_tool(folder, 'train.py', fyd_config, *CATEGORY, '--work-dir',
                      'work')
    assert result.status == 0, result.err
    return folder / 'work'


def test_training_before_a_fit_resumes(run_tool, fyd_config, trained_fyd,
                                       tmp_path):
    result = run_tool(tmp_path, 'train.py', fyd_config, *CATEGORY,
                      '--work-dir', 'work', '--resume',
                      trained_fyd / 'epoch_2.pth')
    assert result.status == 0, result.err
    states = [
        load_checkpoint(str(folder / 'epoch_4.pth'))['state_dict']
        for folder in (tmp_path / 'work', trained_fyd)
    ]
    for name, value in states[1].items():
        assert torch.equal(states[0][name], value), name
    assert metrics(tmp_path / 'work') == metrics(trained_fyd)


def test_test_repeats_the_metrics_of_fyd(run_tool, fyd_config, trained_fyd,
                                         tmp_path):
    result = run_tool(tmp_path, 'test.py', fyd_config,
                      trained_fyd / 'epoch_4.pth', *CATEGORY, '--work-dir',
                      'test')
    assert result.status == 0, result.err
    assert metrics(tmp_path / 'test') == metrics(trained_fyd)


def test_show_alignment(run_tool, fyd_config, config, trained, trained_fyd,
                        tmp_path):
    result = run_tool(tmp_path, 'show_alignment.py', fyd_config,
                      trained_fyd / 'epoch_4.pth', *CATEGORY, '--split',
                      'test', '--number', '5', '--out', 'all.png')
    assert result.status == 0, result.err
    assert '8 images were aligned' in result.out
    assert 'shift_x' in result.out
    # The means, and beneath them five pairs of 48 x 56 with a border.
    assert cv2.imread(str(tmp_path / 'all.png')).shape == (3 * 56, 5 * 64, 3)
    result = run_tool(tmp_path, 'show_alignment.py', config,
                      trained / 'work/epoch_1.pth', *CATEGORY)
    assert is_one_sentence(result), result.err
    assert 'is of a PatchCore, which aligns nothing' in result.err
    for option, value in (('--number', '-1'), ('--out', 'x.jpg')):
        result = run_tool(tmp_path, 'show_alignment.py', fyd_config,
                          trained_fyd / 'epoch_4.pth', *CATEGORY, option,
                          value)
        assert is_one_sentence(result), result.err
        assert option in result.err


def test_checkpoint_of_another_method(run_tool, config, trained_mkd, tmp_path):
    result = run_tool(tmp_path, 'test.py', config, trained_mkd / 'epoch_4.pth',
                      *CATEGORY, '--work-dir', 'test')
    assert is_one_sentence(result), result.err
    assert "detector 'MKD' instead of 'PatchCore'" in result.err


def _truncate(root):
    path = root / 'bottle/train/good/002.png'
    path.write_bytes(path.read_bytes()[:-500])


def _remove_mask(root):
    (root / 'bottle/ground_truth/hole/001_mask.png').unlink()


def _shrink_mask(root):
    Image.new('L', (5, 5)).save(root / 'bottle/ground_truth/hole/001_mask.png')


def _nothing(root):
    pass


@pytest.mark.parametrize(('spoil', 'options', 'words'), [
    (_nothing, ['--category', 'bottel'], ['bottel" does not exist']),
    (_nothing, ['--data-root', 'none'], ['none/bottle" does not exist']),
    (_nothing, ['--amp'], ['--amp needs a CUDA GPU']),
    (_nothing, ['--weights', 'none.pth'], ['none.pth" does not exist']),
    (_nothing, ['--cfg-options', 'model.coreset_ratio=0'
                ], ['above 0 and at most 1']),
    (_nothing, ['--cfg-options', 'model.num_neighbors=99'
                ], ['raise the ratio']),
    (_truncate, [], ['002.png" cannot be read']),
    (_truncate, ['--cfg-options', 'train_dataloader.num_workers=1'
                 ], ['002.png" cannot be read']),
    (_remove_mask, [], ['hole/001.png" has no mask']),
])
def test_bad_input_of_train(run_tool, config, own_root, tmp_path, spoil,
                            options, words):
    spoil(own_root)
    result = run_tool(tmp_path, 'train.py', config, *CATEGORY, '--data-root',
                      own_root, '--work-dir', 'work', *options)
    assert is_one_sentence(result), result.err
    assert all(word in result.err for word in words), result.err
    assert not list(tmp_path.glob('**/*.pth'))


def test_an_optimizer_without_anything_to_train(run_tool, fyd_config,
                                                tmp_path):
    result = run_tool(tmp_path, 'train.py', fyd_config, *CATEGORY,
                      '--work-dir', 'work', '--cfg-options', 'model.ica=None',
                      'model.fca=None', 'model.fas=None')
    assert is_one_sentence(result), result.err
    assert 'FYD as configured has nothing to train' in result.err


def test_a_dumped_config_trains_again(run_tool, config, trained, tmp_path):
    dumped = trained / 'work' / config.name
    assert not {'loader', 'pipeline', 'data_root'} & set(
        Config.fromfile(dumped))
    result = run_tool(tmp_path, 'train.py', dumped, '--work-dir', 'work')
    assert result.status == 0, result.err
    assert metrics(tmp_path / 'work') == metrics(trained / 'work')


@pytest.mark.parametrize(('tool', 'options', 'word'), [
    ('train.py', ['--work-dir', 'file'], '--work-dir "file" cannot'),
    ('train.py', ['--work-dir', 'file/below'], '--work-dir "file/below"'),
    ('train.py', ['--work-dir', ''], '--work-dir is empty'),
    ('train.py', ['--category', '../x'], "category '../x'"),
    ('train.py', ['--resume', 'none.pth'], '"none.pth" does not exist'),
    ('train.py', ['--cfg-options', 'load_from=none.pth'], 'none.pth'),
    ('train.py', ['--cfg-options', 'model.coreset_ratio=abc'], "'abc'"),
    ('train.py', ['--cfg-options', 'model.sigma.x=1'], 'has no place'),
    ('train.py', ['--cfg-options', 'data_root=x'], '--data-root'),
    ('train.py', ['--cfg-options', 'launcher=mpi'], '--launcher'),
    ('train.py', ['--cfg-options', 'foo'], 'KEY=VALUE'),
    ('train.py', ['--cfg-options', 'train_dataloader.dataset.pipeline=[]'
                  ], 'PackInputs'),
    ('train.py', [
        '--cfg-options', 'train_dataloader.dataset.pipeline.2.scale=0'
    ], 'Resize'),
    ('test.py', ['--interval', '0'], '--interval must be at least 1'),
    ('test.py', ['--show-dir', 'file'], '--show-dir "file" cannot'),
    ('test.py', ['--work-dir', 'file'], '--work-dir "file" cannot'),
    ('browse_dataset.py', ['--number', '-1'], '--number'),
    ('browse_dataset.py', ['--out-dir', 'file'], '--out-dir "file"'),
    ('sweep.py', ['--categories', '../x'], "category '../x'"),
    ('sweep.py', ['--work-dir', 'file'], '--work-dir "file"'),
])
def test_bad_options_leave_nothing_behind(run_tool, config, trained, tmp_path,
                                          tool, options, word):
    (tmp_path / 'file').touch()
    files = [config,
             trained / 'work' / 'epoch_1.pth'][:1 + (tool == 'test.py')]
    result = run_tool(
        tmp_path, tool, *files,
        *(() if '--category' in options or tool == 'sweep.py' else CATEGORY),
        *options)
    assert is_one_sentence(result), result.err
    assert word in result.err
    assert {path.name
            for path in tmp_path.iterdir()} == {'file', 'stdout', 'stderr'}


def test_another_package_that_is_missing(run_tool, config, tmp_path):
    result = run_tool(tmp_path, 'train.py', config, *CATEGORY, '--cfg-options',
                      'visualizer.vis_backends.0.type=WandbVisBackend')
    assert is_one_sentence(result), result.err
    assert 'wandb' in result.err


@pytest.mark.parametrize('seconds', [1, 3])
def test_ctrl_c_is_one_line(config, tmp_path, seconds):
    # In an interpreter of its own, to meet the imports as well.
    process = subprocess.Popen(
        [sys.executable, TOOLS / 'train.py', config, *CATEGORY],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(TOOLS.parent)),
        # It is ignored where the tests themselves run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    assert process.returncode == 130, err
    assert err.endswith('interrupted.\n')
    assert 'Traceback' not in err
    assert {path.name for path in tmp_path.iterdir()} <= {'work_dirs'}


def test_missing_config(run_tool, tmp_path):
    for tool in ('train.py', 'print_config.py', 'browse_dataset.py'):
        result = run_tool(tmp_path, tool, 'none.py')
        assert is_one_sentence(result), result.err
        assert '"none.py" does not exist' in result.err


def test_mask_of_another_size(run_tool, config, own_root, trained, tmp_path):
    _shrink_mask(own_root)
    result = run_tool(tmp_path, 'test.py', config,
                      trained / 'work/epoch_1.pth', *CATEGORY, '--data-root',
                      own_root, '--work-dir', 'work')
    assert is_one_sentence(result), result.err
    assert '001_mask.png" is 5x5 but its image' in result.err
    assert not list(tmp_path.glob('**/metrics.json'))


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def _unfit(path):
    state = load_checkpoint(str(path))
    state['state_dict']['fit_state.fingerprint'] = torch.empty(
        0, dtype=torch.uint8)
    torch.save(state, path)


@pytest.mark.parametrize(('spoil', 'options', 'words'), [
    (Path.unlink, [], 'epoch_1.pth" does not exist'),
    (_cut, [], 'epoch_1.pth" cannot be read'),
    (_unfit, [], 'no fitted state'),
    (Path.exists, ['--cfg-options', 'model.backbone.stages=[layer1,layer2]'],
     "stages ['layer2', 'layer3'] instead of ['layer1', 'layer2']"),
    (Path.exists, ['--cfg-options', 'model.backbone.name=resnet34'
                   ], "backbone 'resnet18' instead of 'resnet34'"),
])
def test_bad_checkpoint(run_tool, config, trained, tmp_path, spoil, options,
                        words):
    path = Path(shutil.copy(trained / 'work' / 'epoch_1.pth', tmp_path))
    spoil(path)
    result = run_tool(tmp_path, 'test.py', config, path, *CATEGORY,
                      '--work-dir', 'test', *options)
    assert is_one_sentence(result), result.err
    assert words in result.err
    assert not list(tmp_path.glob('**/metrics.json'))


def _wait(condition, process):
    while process.is_alive() and not condition():
        time.sleep(0.002)


@pytest.mark.parametrize('moment', ['any', 'checkpoint'])
def test_killed_training_can_be_repeated_and_resumed(start_tool, run_tool,
                                                     config, trained, tmp_path,
                                                     moment):
    command = ('train.py', config, *CATEGORY, '--work-dir', 'work')
    process = start_tool(tmp_path / 'resumed', *command)
    work_dir = tmp_path / 'resumed' / 'work'
    if moment == 'any':
        time.sleep(random.uniform(0, 1))
    else:
        _wait((work_dir / 'epoch_1.pth').exists, process)
    process.kill()
    process.join()
    shutil.copytree(tmp_path / 'resumed', tmp_path / 'repeated')
    for folder, options in (('resumed', ['--resume']), ('repeated', [])):
        result = run_tool(tmp_path / folder, *command, *options)
        assert result.status == 0, result.err
        work_dir = tmp_path / folder / 'work'
        assert metrics(work_dir) == metrics(trained / 'work')
        load_checkpoint(str(work_dir / 'epoch_1.pth'))


def test_resumed_from_a_named_checkpoint(run_tool, config, trained, tmp_path):
    result = run_tool(tmp_path, 'train.py', config, *CATEGORY, '--work-dir',
                      'work', '--resume', trained / 'work' / 'epoch_1.pth')
    assert result.status == 0, result.err
    assert metrics(tmp_path / 'work') == metrics(trained / 'work')


def test_print_config(config, tmp_path):
    # The one that runs in an interpreter of its own, as from a shell.
    result = subprocess.run([
        sys.executable, TOOLS / 'print_config.py', config, '--category',
        'cable', '--cfg-options', 'model.coreset_ratio=0.5'
    ],
                            capture_output=True,
                            text=True,
                            cwd=tmp_path,
                            check=False,
                            env=dict(os.environ, PYTHONPATH=str(TOOLS.parent)))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ''
    cfg = Config.fromstring(result.stdout, '.py')
    assert cfg.model.coreset_ratio == 0.5
    assert cfg.model.type == 'PatchCore'
    assert cfg.train_dataloader.dataset.category == 'cable'


def test_browse_dataset(run_tool, config, tmp_path):
    result = run_tool(tmp_path, 'browse_dataset.py', config, *CATEGORY,
                      '--split', 'test', '--out-dir', 'images', '--number',
                      '5')
    assert result.status == 0, result.err
    assert '5 of 8 images' in result.out
    drawn = sorted(tmp_path.glob('images/*/*.png'))
    assert len(drawn) == 5
    for path in drawn:
        image = cv2.imread(str(path))
        green = (image == (80, 255, 80)).all(2)
        assert image.shape == (48, 48, 3)
        assert np.any(green) == (path.parent.name != 'good')
