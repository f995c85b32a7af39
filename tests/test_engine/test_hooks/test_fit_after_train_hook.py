from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.errors import InputError
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


def test_the_hook_of_one_pass_refuses_it(fyd_config, tmp_path):
    with pytest.raises(
            InputError,
            match='needs the FitAfterTrainHook, but '
            '`custom_hooks` has the FitHook'):
        build(
            fyd_config, tmp_path, custom_hooks=[dict(type='FitHook')]).train()
