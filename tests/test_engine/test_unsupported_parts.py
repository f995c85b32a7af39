import importlib.util

import pytest
from mmengine.config import Config
from mmengine.dataset import BaseDataset

from mmad.engine import refuse_unsupported
from mmad.errors import InputError

BACKENDS = dict(
    TensorboardVisBackend='tensorboard',
    WandbVisBackend='wandb',
    MLflowVisBackend='mlflow',
    ClearMLVisBackend='clearml',
    NeptuneVisBackend='neptune',
    DVCLiveVisBackend='dvclive',
    AimVisBackend='aim')


@pytest.fixture
def without_packages(monkeypatch):
    monkeypatch.setattr('mmad.engine.unsupported_parts.find_spec',
                        lambda name: None)


def sentence(**entries):
    with pytest.raises(InputError) as caught:
        refuse_unsupported(Config(entries))
    assert str(caught.value).endswith('.')
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('kind', BACKENDS)
def test_package_of_a_back_end_is_named(without_packages, kind):
    local = dict(type='LocalVisBackend')
    for name in (kind, f'mmengine.{kind}'):
        for backends in ([dict(type=name)], [local, dict(type=name)],
                         dict(type=name), [name]):
            text = sentence(visualizer=dict(vis_backends=backends))
            assert f'pip install {BACKENDS[kind]}' in text
            assert kind in text


def test_back_end_given_as_a_class(without_packages):
    from mmengine.visualization import AimVisBackend
    assert 'pip install aim' in sentence(
        visualizer=dict(vis_backends=[dict(type=AimVisBackend)]))


def test_every_back_end_of_mmengine_is_known():
    from mmengine.visualization import vis_backend
    kinds = {name for name in dir(vis_backend) if name.endswith('VisBackend')}
    assert kinds == {*BACKENDS, 'BaseVisBackend', 'LocalVisBackend'}


@pytest.mark.parametrize('kind', BACKENDS)
def test_back_end_that_is_installed(monkeypatch, kind):
    monkeypatch.setattr('mmad.engine.unsupported_parts.find_spec',
                        lambda name: importlib.util.find_spec('json'))
    visualizer = dict(vis_backends=[dict(type=kind)])
    refuse_unsupported(Config(dict(visualizer=visualizer)))


def test_profile_for_tensorboard(without_packages):
    hook = dict(type='ProfilerHook', on_trace_ready=dict(type='tb_trace'))
    for hooks in (dict(custom_hooks=[hook]), dict(default_hooks=dict(p=hook))):
        assert 'torch_tb_profiler' in sentence(**hooks)


class Labeled(BaseDataset):

    def get_cat_ids(self, idx):
        return [0]


INNER = dict(type='AnomalyDataset', data_root='a', split='train')


def loader(name, wrapper, inner=INNER):
    inner = dict(
        datasets=[INNER, inner]) if wrapper == 'ConcatDataset' else (dict(
            dataset=inner))
    return {f'{name}_dataloader': dict(dataset=dict(type=wrapper, **inner))}


@pytest.mark.parametrize(('entries', 'match'), [
    (dict(runner_type='FlexibleRunner'), 'FlexibleRunner'),
    (dict(strategy=dict(type='DeepSpeedStrategy')), '`strategy`'),
    (dict(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel')),
     'MMDistributedDataParallel'),
    (dict(activation_checkpointing=['cloner']), 'accumulative_counts'),
    (loader('train', 'ClassBalancedDataset'), 'AnomalyDataset inside it'),
    (loader(
        'train', 'ConcatDataset',
        loader('train',
               'ClassBalancedDataset')['train_dataloader']['dataset']),
     'no classes to balance'),
    (loader('val', 'RepeatDataset'), '`val_dataloader.dataset`'),
    (loader('test', 'ClassBalancedDataset',
            dict(type=Labeled)), 'several times'),
    (loader('test', 'ConcatDataset',
            dict(type='RepeatDataset', times=2,
                 dataset=INNER)), 'a RepeatDataset'),
    (dict(optim_wrapper=dict(accumulative_counts=4)), 'accumulative_counts'),
    (dict(
        optim_wrapper=dict(),
        auto_scale_lr=dict(enable=True, base_batch_size=16)), 'could scale'),
    (dict(optim_wrapper=None, param_scheduler=[dict(type='StepLR')
                                               ]), '`param_scheduler`'),
])
def test_refused(entries, match):
    assert match in sentence(**entries)


@pytest.mark.parametrize(
    'entries',
    [
        dict(),
        dict(visualizer=None, custom_hooks=None, default_hooks=None),
        dict(visualizer=dict(type='Visualizer')),
        dict(runner_type='Runner', strategy=None),
        dict(model_wrapper_cfg=dict(type='MMSeparateDistributedDataParallel')),
        dict(auto_scale_lr=dict(enable=False, base_batch_size=16)),
        *(loader(name, 'ConcatDataset') for name in ('train', 'val', 'test')),
        loader('train', 'RepeatDataset'),
        loader('train', 'ClassBalancedDataset', dict(type=Labeled)),
        # Not for these checks to answer.
        dict(
            visualizer='a',
            custom_hooks='a',
            default_hooks='a',
            train_cfg='a',
            train_dataloader='a',
            optim_wrapper='a',
            auto_scale_lr='a'),
        dict(custom_hooks=['a', 1], visualizer=dict(vis_backends=[1, None])),
        dict(train_cfg=None, optim_wrapper=None, param_scheduler=None),
    ])
def test_accepted(entries):
    refuse_unsupported(Config(entries))


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
def test_tools_end_with_the_sentence(run_tool, config, tmp_path, tool):
    (tmp_path / 'own.py').write_text(
        config.read_text() +
        'model_wrapper_cfg = dict(type="MMFullyShardedDataParallel")')
    (tmp_path / 'any.pth').touch()
    extra = ['any.pth', '--weights', 'any.pth'] if tool == 'test.py' else []
    done = run_tool(tmp_path, tool, 'own.py', *extra, '--category', 'bottle',
                    '--work-dir', 'work')
    assert done.status == 2
    assert done.err.startswith('error: `model_wrapper_cfg` is MMFully')
