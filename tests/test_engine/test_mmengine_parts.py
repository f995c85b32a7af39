"""The parts of MMEngine that docs/mmengine_parts.md says work."""
import logging
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseTTAModel

from mmad.datasets import AnomalyDataset
from mmad.engine import refuse_unsupported
from mmad.registry import DATASETS, MODELS, TRANSFORMS
from mmad.utils import load_checkpoint

# Importing what compiles takes many seconds.
COMPILE = pytest.param('compile', marks=pytest.mark.slow)
WORKS = dict(
    accumulation={'optim_wrapper.accumulative_counts': 2},
    accumulation_of_more_than_there_is={
        'optim_wrapper.accumulative_counts': 100
    },
    clip_grad={'optim_wrapper.clip_grad': dict(max_norm=1)},
    auto_scale_lr=dict(auto_scale_lr=dict(enable=True, base_batch_size=6)),
    compile=dict(compile=dict(backend='eager')),
    deterministic=dict(randomness=dict(seed=0, deterministic=True)),
    sync_bn=dict(sync_bn='torch'),
    efficient_conv_bn_eval=dict(efficient_conv_bn_eval=['backbone']),
    schedulers=dict(param_scheduler=[
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2),
        dict(type='CosineAnnealingLR', T_max=2, convert_to_iter_based=True)
    ]),
    profiler=dict(more_hooks=[
        dict(type='ProfilerHook', on_trace_ready=dict(type='log_trace'))
    ]),
    empty_cache=dict(more_hooks=[
        dict(type='EmptyCacheHook', before_epoch=True, after_iter=True)
    ]),
    half_precision={
        'val_cfg.fp16': True,
        'test_cfg.fp16': True
    },
    iterations={
        'train_cfg':
        dict(
            _delete_=True,
            type='IterBasedTrainLoop',
            max_iters=4,
            val_interval=4),
        'train_dataloader.sampler':
        dict(_delete_=True, type='InfiniteSampler'),
        'log_processor.by_epoch':
        False
    },
    dynamic_intervals={
        'train_cfg.val_interval': 5,
        'train_cfg.dynamic_intervals': [(2, 1)]
    },
    logger={
        'default_hooks.logger':
        dict(
            interval=1,
            ignore_last=False,
            interval_exp_name=1,
            out_suffix='.log',
            log_metric_by_epoch=False)
    },
    naive_visualization={
        'default_hooks.draw': dict(type='NaiveVisualizationHook')
    })


@pytest.fixture(autouse=True)
def restored():
    yield
    torch.use_deterministic_algorithms(False)
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    'part', [COMPILE if part == 'compile' else part for part in WORKS])
def test_trained_and_tested_with(make_runner, tmp_path, part):
    runner = make_runner('mkd_config', **WORKS[part])
    runner.train()
    path = (tmp_path / 'last_checkpoint').read_text()
    state = load_checkpoint(path)['state_dict']
    for name, value in runner.model.state_dict().items():
        assert torch.equal(state[name], value), name
    again = make_runner('mkd_config', folder=tmp_path / 'test', load_from=path)
    assert 0 <= again.test()['image_auroc'] <= 1


@pytest.mark.parametrize('part', [
    COMPILE, 'deterministic', 'profiler', 'empty_cache', 'half_precision',
    'logger'
])
def test_fitted_and_tested_with(load_cfg, make_runner, tmp_path, part):
    runner = make_runner('config', **{'model.coreset_ratio': 0.02},
                         **WORKS[part])
    runner.train()
    again = make_runner(
        'config',
        folder=tmp_path / 'test',
        load_from=str(tmp_path / 'epoch_1.pth'))
    again.test()
    assert torch.equal(again.model.memory_bank.rows,
                       runner.model.memory_bank.rows)


@pytest.mark.parametrize('kind', ['RepeatDataset', 'ConcatDataset'])
def test_trained_on_a_data_set_around_data_sets(load_cfg, make_runner,
                                                tmp_path, kind):
    inner = load_cfg('mkd_config').train_dataloader.dataset
    around = dict(
        times=2, dataset=inner) if kind == 'RepeatDataset' else dict(
            datasets=[inner, inner])
    runner = make_runner(
        'mkd_config', **{
            'train_cfg.max_epochs': 1,
            'train_dataloader.drop_last': True,
            'train_dataloader.dataset':
            dict(_delete_=True, type=kind, **around)
        })
    runner.train()
    assert runner.iter == 14 // 3


@DATASETS.register_module(force=True)
class TwoClasses(AnomalyDataset):
    """The first image is of a rare class."""

    def get_cat_ids(self, idx):
        return [int(idx == 0)]


def test_trained_on_balanced_classes(load_cfg, make_runner):
    inner = load_cfg('mkd_config').train_dataloader.dataset
    runner = make_runner(
        'mkd_config', **{
            'train_cfg.max_epochs':
            1,
            'train_dataloader.drop_last':
            True,
            'train_dataloader.dataset':
            dict(
                _delete_=True,
                type='ClassBalancedDataset',
                oversample_thr=1.0,
                dataset=dict(inner, type='TwoClasses'))
        })
    refuse_unsupported(runner.cfg)
    runner.train()
    # The rare image three times, the six others twice each.
    assert runner.iter == (3 + 6 * 2) // 3


def test_predictions_are_dumped(make_runner, tmp_path):
    path = tmp_path / 'predictions.pkl'
    make_runner(
        'mkd_config', **{
            'train_cfg.max_epochs':
            1,
            'val_evaluator': [
                dict(type='ImageMetric'),
                dict(type='DumpResults', out_file_path=str(path))
            ]
        }).train()
    # Our own file.
    samples = pickle.loads(path.read_bytes())
    assert len(samples) == 8
    assert samples[0]['pred_map'].shape == (48, 56)


def test_log_goes_where_it_is_asked_to(make_runner, tmp_path):
    make_runner(
        'mkd_config', **{
            'log_level':
            'INFO',
            'train_cfg.max_epochs':
            1,
            'default_hooks.logger':
            dict(
                interval=1,
                out_dir=str(tmp_path / 'logs'),
                out_suffix='.json',
                keep_local=True)
        }).train()
    assert list(Path(tmp_path / 'logs').rglob('*.json'))


def test_trained_on_from_a_checkpoint(make_runner, tmp_path):
    for name in ('config', 'mkd_config'):
        make_runner(
            name, folder=tmp_path / name, **{
                'train_cfg.max_epochs': 1
            }).train()
        runner = make_runner(
            name,
            folder=tmp_path / f'{name}_on',
            load_from=str(tmp_path / name / 'epoch_1.pth'),
            **{'train_cfg.max_epochs': 1})
        runner.train()
        assert runner.epoch == 1
        assert runner.model.is_fitted
        assert (tmp_path / f'{name}_on' / 'epoch_1.pth').exists()


@MODELS.register_module(force=True)
class MeanOfFlips(BaseTTAModel):
    """Means of scores and maps over an image and its mirror image."""

    def merge_preds(self, data_samples_list):
        merged = []
        for plain, flipped in data_samples_list:
            plain.pred_score = (plain.pred_score + flipped.pred_score) / 2
            plain.pred_map = (plain.pred_map + flipped.pred_map.flip(-1)) / 2
            merged.append(plain)
        return merged


@TRANSFORMS.register_module(force=True)
class BothFlips:
    """Test time augmentation: an image and its mirror image."""

    def __call__(self, results):
        image, sample = results['inputs'], results['data_samples']
        return dict(
            inputs=[image, image.flip(-1)],
            data_samples=[sample, sample.clone()])


def test_augmented_at_test_time(load_cfg, make_runner, tmp_path):
    make_runner('mkd_config', **{'train_cfg.max_epochs': 1}).train()
    pipeline = load_cfg('mkd_config').test_dataloader.dataset.pipeline
    runner = make_runner(
        'mkd_config',
        folder=tmp_path / 'tta',
        load_from=str(tmp_path / 'epoch_1.pth'),
        **{
            'test_dataloader.dataset.pipeline':
            [*pipeline, dict(type='BothFlips')],
            'more_hooks':
            [dict(type='PrepareTTAHook', tta_cfg=dict(type='MeanOfFlips'))]
        })
    metrics = runner.test()
    assert 0 <= metrics['aupro'] <= 1
    assert (tmp_path / 'tta' / 'metrics.json').exists()
