import argparse
import os

import pytest
import torch
from mmengine.config import Config

from mmad.errors import InputError
from mmad.utils import command_line
from mmad.utils.command_line import (
    add_run_arguments,
    check_before_run,
    enable_amp,
    finish_config,
    load_config,
    one_sentence_errors,
    use_checkpoint_backbone,
)

CONFIG = '''
dataset = dict(type='MVTecAD', data_root='data', category='bottle')
train_dataloader = dict(dataset=dict(split='train', **dataset))
val_dataloader = dict(dataset=dict(split='test', **dataset))
test_dataloader = dict(dataset=dict(split='test', **dataset))
model = dict(ratio=0.1, backbone=dict(weights='IMAGENET1K_V1'))
optim_wrapper = dict()
'''


@pytest.fixture
def parse(tmp_path):
    (tmp_path / 'method.py').write_text(CONFIG)

    def parse_args(*options):
        parser = argparse.ArgumentParser()
        parser.add_argument('config')
        add_run_arguments(parser)
        return parser.parse_args([str(tmp_path / 'method.py'), *options])

    return parse_args


def test_plain(parse):
    cfg = load_config(parse())
    assert cfg.train_dataloader.dataset.data_root == 'data'
    assert cfg.model.backbone.weights == 'IMAGENET1K_V1'


def test_misspelt_option(parse):
    with pytest.raises(InputError, match=r'modle\.ratio: nothing .*`model`'):
        load_config(parse('--cfg-options', 'modle.ratio=0.5'))


def test_option_of_the_runner_that_the_config_lacks(parse):
    cfg = load_config(parse('--cfg-options', 'resume=True', 'compile=True'))
    assert cfg.resume is True
    assert cfg.compile is True


def test_options(parse):
    cfg = load_config(
        parse('--data-root', 'there', '--category', 'zipper', '--weights',
              'w.pth', '--cfg-options', 'model.ratio=0.5',
              'model.names=[a,b]'))
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.data_root == 'there'
        assert dataset.category == 'zipper'
        assert dataset.split == ('train' if split == 'train' else 'test')
    assert cfg.model.ratio == 0.5
    assert cfg.model.names == ['a', 'b']
    assert cfg.model.backbone.weights == 'w.pth'


def test_without_a_test_split(parse, tmp_path):
    with open(tmp_path / 'method.py', 'a') as file:
        file.write('val_dataloader = None\n')
    cfg = load_config(parse('--category', 'zipper'))
    assert cfg.val_dataloader is None


def test_missing_config(parse, tmp_path):
    args = parse()
    (tmp_path / 'method.py').unlink()
    with pytest.raises(InputError, match=r'method\.py" does not exist'):
        load_config(args)


def test_option_without_a_place(parse, tmp_path):
    (tmp_path / 'method.py').write_text(
        CONFIG.replace(", category='bottle'", ''))
    with pytest.raises(
            InputError,
            match='--category does not apply: the '
            'MVTecAD of this config has no `category`'):
        load_config(parse('--category', 'zipper'))


TWO = '''
part = dict(type='MVTecAD', data_root='data', category='bottle')
dataset = dict(type='ConcatDataset', datasets=[part, dict(part, {})])
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dataset)
model = dict()
'''


def test_data_sets_in_a_data_set(parse, tmp_path, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    (tmp_path / 'method.py').write_text(TWO.format('indices=5'))
    args = parse('--data-root', 'there', '--category', 'zipper')
    cfg = load_config(args)
    finish_config(cfg, args)
    assert cfg.work_dir == 'work_dirs/method/zipper'
    for split in ('train', 'val', 'test'):
        for part in cfg[f'{split}_dataloader'].dataset.datasets:
            assert (part.data_root, part.category) == ('there', 'zipper')


def test_bad_category_of_a_data_set_in_a_data_set(parse, tmp_path):
    (tmp_path / 'method.py').write_text(TWO.format('category="../a"'))
    with pytest.raises(InputError, match='is no name of a folder'):
        load_config(parse())


def test_different_data_sets_in_a_data_set(parse, tmp_path, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    (tmp_path / 'method.py').write_text(TWO.format('category="cable"'))
    args = parse('--data-root', 'there')
    cfg = load_config(args)
    finish_config(cfg, args)
    assert cfg.work_dir == 'work_dirs/method'
    with pytest.raises(
            InputError, match=r'differ in their `category` \(bottle, cable'):
        load_config(parse('--category', 'zipper'))


@pytest.mark.parametrize(('options', 'work_dir'), [
    ([], 'work_dirs/method/bottle'),
    (['--category', 'zipper'], 'work_dirs/method/zipper'),
    (['--work-dir', 'here'], 'here'),
    (['--cfg-options', 'work_dir=there'], 'there'),
    (['--cfg-options', 'work_dir=there', '--work-dir', 'here'], 'here'),
])
def test_work_dir(parse, monkeypatch, options, work_dir):
    monkeypatch.setenv('LOCAL_RANK', '0')
    args = parse(*options)
    cfg = load_config(args)
    finish_config(cfg, args)
    assert cfg.work_dir == work_dir
    assert cfg.launcher == 'none'


@pytest.mark.parametrize('option', ['--local_rank=2', '--local-rank=2'])
def test_local_rank(parse, monkeypatch, option):
    monkeypatch.setattr(os, 'environ', {})
    args = parse(option, '--launcher', 'pytorch')
    cfg = load_config(args)
    finish_config(cfg, args)
    assert os.environ['LOCAL_RANK'] == '2'
    assert cfg.launcher == 'pytorch'


@pytest.mark.parametrize(('launcher', 'cuda', 'wraps'),
                         [('pytorch', False, True), ('none', False, False),
                          ('pytorch', True, False)])
def test_wrapper_without_a_gpu(parse, monkeypatch, launcher, cuda, wraps):
    monkeypatch.setattr(os, 'environ', {})
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    args = parse('--launcher', launcher)
    cfg = load_config(args)
    finish_config(cfg, args)
    assert (cfg.get('model_wrapper_cfg') is not None) == wraps
    cfg.model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
    finish_config(cfg, args)
    assert cfg.model_wrapper_cfg.type == 'MMSeparateDistributedDataParallel'


@pytest.mark.parametrize(('key', 'weights'), [
    ('backbone.body.weight', None),
    ('members.10.backbone.body.weight', None),
    ('members.0.head.weight', 'IMAGENET1K_V1'),
    ('head.weight', 'IMAGENET1K_V1'),
])
def test_backbone_of_the_checkpoint(parse, tmp_path, key, weights):
    cfg = load_config(parse())
    torch.save(dict(state_dict={key: torch.zeros(1)}), tmp_path / 'a.pth')
    use_checkpoint_backbone(cfg, str(tmp_path / 'a.pth'))
    assert cfg.model.backbone.weights == weights


def test_amp(monkeypatch):
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(InputError, match='--amp needs a CUDA GPU'):
        enable_amp(cfg)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    enable_amp(cfg)
    assert cfg.optim_wrapper == dict(
        type='AmpOptimWrapper', loss_scale='dynamic')
    with pytest.raises(InputError, match='no optimizer'):
        enable_amp(Config(dict(optim_wrapper=dict())))


@pytest.mark.parametrize(('message', 'line'), [
    ('no such thing.', 'error: no such thing.'),
    ('Caught InputError in DataLoader worker process 0.\nTraceback (most '
     'recent call last):\n  File "x.py"\nmmad.errors.InputError: image "a" '
     'is broken.\n', 'error: image "a" is broken.'),
])
def test_errors_are_one_line(capsys, message, line):

    @one_sentence_errors
    def main():
        raise InputError(message)

    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr() == ('', line + '\n')


def test_bugs_keep_their_traceback():

    @one_sentence_errors
    def main():
        raise KeyError('bug')

    with pytest.raises(KeyError):
        main()


LOG = dict(log_scalars={}, runtime_info={}, resumed_keys={})
META = dict(epoch=1, iter=2, seed=0)


@pytest.mark.parametrize(
    'state', [
        {},
        dict(meta=META),
        dict(message_hub=LOG),
        dict(meta=5, message_hub=LOG),
        dict(meta=META, message_hub=5),
        dict(meta=META, message_hub={}),
        *(dict(meta=dict(META, **{key: value}), message_hub=LOG)
          for key in META for value in ('x', -1, 0.5, [1])),
        *(dict(meta=META, message_hub=dict(LOG, **{key: 5})) for key in LOG),
    ],
    ids=str)
@pytest.mark.parametrize('resume', [True, False])
def test_a_training_goes_on_from_where_it_stood(tmp_path, state, resume):
    path = str(tmp_path / 'a.pth')
    torch.save(state, path)
    cfg = Config(dict(model=dict(type='A'), resume=resume))
    if resume:
        with pytest.raises(InputError, match=r'a\.pth" does not contain the'):
            use_checkpoint_backbone(cfg, path)
    else:
        use_checkpoint_backbone(cfg, path)
    torch.save(dict(meta=META, message_hub=LOG), path)
    use_checkpoint_backbone(cfg, path)


@pytest.mark.parametrize('name',
                         ['method.py', 'last_checkpoint', 'metrics.json'])
def test_a_folder_in_the_place_of_a_file(parse, tmp_path, monkeypatch, name):
    monkeypatch.setattr(command_line, 'check_config', lambda *args: None)
    args = parse('--work-dir', str(tmp_path / 'work'))
    cfg = load_config(args)
    finish_config(cfg, args)
    check_before_run(cfg, ['train'])
    (tmp_path / 'work' / name).mkdir(parents=True)
    with pytest.raises(InputError, match=f'has a folder ".*{name}"'):
        check_before_run(cfg, ['train'])


@pytest.mark.parametrize('place', [
    'default_hooks.logger.out_dir', 'default_hooks.checkpoint.out_dir',
    'custom_hooks.0.out_dir', 'visualizer.save_dir',
    'visualizer.vis_backends.0.save_dir'
])
def test_folders_of_parts(parse, tmp_path, monkeypatch, place):
    monkeypatch.setattr(command_line, 'check_config', lambda *args: None)
    args = parse('--work-dir', str(tmp_path / 'work'))
    cfg = load_config(args)
    finish_config(cfg, args)
    for folder in (None, 's3://bucket', str(tmp_path / 'new')):
        cfg.default_hooks, cfg.custom_hooks = dict(timer=None), [{}]
        cfg.visualizer = dict(vis_backends=[{}])
        cfg.merge_from_dict({place: folder})
        check_before_run(cfg, ['train'])
    cfg.merge_from_dict({place: str(tmp_path / 'method.py/x')})
    with pytest.raises(InputError, match=f'`{place}`'):
        check_before_run(cfg, ['train'])
