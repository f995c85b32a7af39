import os
import signal
from pathlib import Path

import pytest
import torch
from interrupted_fits import fit_in_processes, fitted_state, resume
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.errors import InputError
from mmad.models import FYD
from mmad.registry import HOOKS
from mmad.utils import load_checkpoint, setup_environment


@HOOKS.register_module(force=True)
class FittedDiaryHook(Hook):
    """Notes whether the model was fitted; runs behind FitAfterTrainHook."""

    priority = 'LOW'

    def before_run(self, runner):
        self.entries = []

    def after_train_iter(self, runner, *args, **kwargs):
        assert not runner.model.is_fitted
        assert runner.model.ica.training

    def after_train_epoch(self, runner):
        self.entries.append((runner.epoch + 1, runner.model.is_fitted))


def build(config, folder, **changes):
    cfg = Config.fromfile(config)
    cfg.work_dir = str(folder)
    cfg.experiment_name = folder.name
    cfg.merge_from_dict(changes)
    setup_environment()
    return Runner.from_cfg(cfg)


HOOKS_IN_USE = [dict(type='FitAfterTrainHook'), dict(type='FittedDiaryHook')]


@pytest.fixture(scope='module')
def run(fyd_config, tmp_path_factory):
    """Three epochs, of which the second is validated: runner and diary."""
    runner = build(
        fyd_config,
        tmp_path_factory.mktemp('run'),
        custom_hooks=HOOKS_IN_USE,
        **{
            'train_cfg.max_epochs': 3,
            'default_hooks.checkpoint.interval': 1
        })
    runner.train()
    diary, = (h for h in runner.hooks if isinstance(h, FittedDiaryHook))
    return runner, diary.entries


def test_fitted_where_a_validation_follows(run):
    assert run[1] == [(1, False), (2, True), (3, True)]


def test_checkpoints_are_of_the_present_fit(run):
    runner, _ = run
    state = load_checkpoint(f'{runner.work_dir}/epoch_3.pth')['state_dict']
    for name, value in runner.model.state_dict().items():
        assert torch.equal(state[name], value), name
    earlier = load_checkpoint(f'{runner.work_dir}/epoch_2.pth')['state_dict']
    assert len(earlier['fit_state.fingerprint'])
    assert not torch.equal(earlier['gaussians.mean'], state['gaussians.mean'])


def test_gaussians_are_those_of_the_trained_features(run, fit):
    runner, _ = run
    model = runner.model
    expected = {
        name: value.clone()
        for name, value in model.state_dict().items()
    }
    images = torch.stack([
        model.data_preprocessor(
            dict(inputs=[runner.train_dataloader.dataset[i]['inputs']]))
        ['inputs'][0] for i in range(7)
    ])
    model.data_preprocessor = torch.nn.Identity()
    model.data_preprocessor.forward = lambda data, training: data
    fit(model, images, 3)
    assert torch.equal(model.gaussians.mean, expected['gaussians.mean'])
    assert torch.equal(model.gaussians.factor, expected['gaussians.factor'])


def test_between_two_fits_nothing_is_saved(run):
    runner, _ = run
    assert sorted(path.name
                  for path in Path(runner.work_dir).glob('*.pth')) == [
                      'epoch_2.pth', 'epoch_3.pth'
                  ]


def test_resumed_after_the_fit(run, fyd_config, tmp_path):
    runner, _ = run
    again = build(
        fyd_config,
        tmp_path,
        resume=True,
        load_from=f'{runner.work_dir}/epoch_3.pth',
        **{'train_cfg.max_epochs': 3})
    again.train()
    state = load_checkpoint(f'{runner.work_dir}/epoch_3.pth')['state_dict']
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert (tmp_path / 'metrics.json').exists()


def _kill_at(monkeypatch, name, number):
    """Kill a process in a later call of a method of FYD."""
    method, left = getattr(FYD, name), [number]

    def call(*args):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return method(*args)

    monkeypatch.setattr(FYD, name, call)


# After the second epoch and the fourth, one process fits in three steps, and
# two in two.
@pytest.mark.parametrize(('world', 'name', 'number'), [(1, 'fit_step', 3),
                                                       (1, 'end_pass', 1),
                                                       (2, 'fit_step', 3)])
def test_killed_in_the_last_fit(fyd_config, tmp_path, monkeypatch, world, name,
                                number):
    whole, cfg = (Config.fromfile(fyd_config) for _ in range(2))
    for one, folder in ((whole, 'whole'), (cfg, 'work')):
        one.work_dir = str(tmp_path / folder)
    if world == 2:
        monkeypatch.setenv('LOCAL_RANK', '0')
        for one in (whole, cfg):
            one.train_dataloader.batch_size = 2
            one.launcher = 'pytorch'
            # Without a GPU of its own for each.
            one.model_wrapper_cfg = dict(
                device_ids=None, broadcast_buffers=False)
    assert fit_in_processes(world, whole) == [0] * world
    with monkeypatch.context() as patch:
        _kill_at(patch, name, number)
        assert all(fit_in_processes(world, cfg))
    state = fitted_state(cfg)
    assert len(state['fit_state.batches_left'])
    # Nothing is trained again.
    monkeypatch.setattr(FYD, 'loss', None)
    assert fit_in_processes(world, resume(cfg)) == [0] * world
    found, expected = fitted_state(cfg), fitted_state(whole)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    assert Path(cfg.work_dir, 'metrics.json').read_text() == Path(
        whole.work_dir, 'metrics.json').read_text()


def test_the_hook_of_one_pass_refuses_it(fyd_config, tmp_path):
    with pytest.raises(
            InputError,
            match='needs the FitAfterTrainHook, but '
            '`custom_hooks` has the FitHook'):
        build(
            fyd_config, tmp_path, custom_hooks=[dict(type='FitHook')]).train()
