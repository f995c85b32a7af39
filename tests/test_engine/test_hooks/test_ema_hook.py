import pytest
import torch
from mmengine.hooks import Hook

from mmad.registry import HOOKS
from mmad.utils import load_checkpoint

KINDS = [
    dict(momentum=0.3),
    dict(momentum=0.3, update_buffers=True),
    dict(momentum=0.3, begin_iter=2),
    dict(momentum=0.3, begin_epoch=2),
    dict(momentum=0.3, interval=2),
    dict(ema_type='StochasticWeightAverage'),
    dict(ema_type='MomentumAnnealingEMA', momentum=0.1, gamma=2),
]


@HOOKS.register_module(force=True)
class WeightsDiaryHook(Hook):
    """Keeps the weights after each step, and the metrics."""

    priority = 'LOWEST'

    def before_run(self, runner):
        self.weights, self.metrics = [], []

    def after_train_iter(self, runner, *args, **kwargs):
        self.weights.append({
            name: value.clone()
            for name, value in runner.model.named_parameters()
        })

    def after_val_epoch(self, runner, metrics=None):
        self.metrics.append(metrics)


def hooks(**kwargs):
    return [dict(type='EMAHook', **kwargs), dict(type='WeightsDiaryHook')]


def diary(runner):
    hook, = (h for h in runner.hooks if isinstance(h, WeightsDiaryHook))
    return hook


@pytest.mark.parametrize('kwargs', KINDS, ids=lambda kwargs: '-'.join(kwargs))
def test_checkpoint_scores_as_the_validation_did(make_runner, tmp_path,
                                                 kwargs):
    runner = make_runner('mkd_config', more_hooks=hooks(**kwargs))
    runner.train()
    path = tmp_path / 'epoch_2.pth'
    again = make_runner(
        'mkd_config', folder=tmp_path / 'test', load_from=str(path))
    assert again.test() == diary(runner).metrics[-1]
    assert again.model.is_fitted
    assert torch.equal(again.model.weight, runner.model.weight)
    # A config that still has the hook tests the same weights.
    with_hook = make_runner(
        'mkd_config',
        folder=tmp_path / 'hook',
        more_hooks=hooks(**kwargs),
        load_from=str(path))
    assert with_hook.test() == diary(runner).metrics[-1]


def test_weights_are_averaged_and_statistics_are_not(make_runner, tmp_path):
    runner = make_runner('mkd_config', more_hooks=hooks(momentum=0.3))
    runner.train()
    state = load_checkpoint(str(tmp_path / 'epoch_2.pth'))['state_dict']
    first, *later = diary(runner).weights
    for name, expected in first.items():
        expected = expected.clone()
        for weights in later:
            expected.lerp_(weights[name], 0.3)
        torch.testing.assert_close(state[name], expected)
    names = state.keys() - first.keys()
    assert any(name.endswith('running_mean') for name in names)
    for name in names:
        assert torch.equal(state[name], runner.model.state_dict()[name]), name


def test_resumed(make_runner, tmp_path):
    straight = make_runner(
        'mkd_config',
        folder=tmp_path / 'straight',
        more_hooks=hooks(momentum=0.3))
    straight.train()
    make_runner(
        'mkd_config',
        folder=tmp_path / 'first',
        more_hooks=hooks(momentum=0.3),
        **{
            'train_cfg.max_epochs': 1
        }).train()
    make_runner(
        'mkd_config',
        folder=tmp_path / 'second',
        more_hooks=hooks(momentum=0.3),
        resume=True,
        load_from=str(tmp_path / 'first/epoch_1.pth')).train()
    ours, theirs = (
        load_checkpoint(str(tmp_path / name / 'epoch_2.pth'))
        for name in ('second', 'straight'))
    for part in ('state_dict', 'ema_state_dict'):
        assert ours[part].keys() == theirs[part].keys()
        for name, value in ours[part].items():
            torch.testing.assert_close(value, theirs[part][name], msg=name)


def test_started_from_weights_without_an_average(make_runner, tmp_path):
    make_runner(
        'mkd_config', folder=tmp_path / 'first', **{
            'train_cfg.max_epochs': 1
        }).train()
    runner = make_runner(
        'mkd_config',
        folder=tmp_path / 'second',
        more_hooks=hooks(momentum=0.3),
        load_from=str(tmp_path / 'first/epoch_1.pth'))
    runner.train()
    assert (tmp_path / 'second/epoch_2.pth').exists()
