import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from run_tools import CATEGORY, is_one_sentence

from mmad.utils import load_checkpoint


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
                      '--work-dir', 'work', '--cfg-options',
                      'model.pose_search=None', 'model.ica=None',
                      'model.fca=None', 'model.fas=None')
    assert is_one_sentence(result), result.err
    assert 'FYD as configured has nothing to train' in result.err


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
