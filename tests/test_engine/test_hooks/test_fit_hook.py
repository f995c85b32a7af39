from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmad.errors import InputError
from mmad.registry import HOOKS
from mmad.utils import load_checkpoint


@HOOKS.register_module(force=True)
class DiaryHook(Hook):
    """Notes what was there when; runs behind FitHook."""

    priority = 'LOW'

    def before_run(self, runner):
        self.entries = []

    def after_train_epoch(self, runner):
        model = runner.model
        self.entries.append((model.reduction.is_fitted, model.is_fitted))

    def before_val_epoch(self, runner):
        self.entries.append('validation')


def two_passes(epochs=2, interval=2):
    """What turns the config into a fit of PaDiM in two passes."""
    return {
        'model':
        dict(
            _delete_=True,
            type='PaDiM',
            data_preprocessor=dict(
                type='ImgDataPreprocessor',
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375]),
            backbone=dict(type='TinyBackbone'),
            reduction='pca',
            dim=5),
        'train_cfg.max_epochs':
        epochs,
        'train_cfg.val_interval':
        2,
        'default_hooks.checkpoint.interval':
        interval,
    }


def run(config, folder, **changes):
    cfg = Config.fromfile(config)
    cfg.model.backbone = dict(type='TinyBackbone')
    cfg.work_dir = str(folder)
    cfg.experiment_name = folder.name
    cfg.merge_from_dict(changes)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def test_fitted_before_the_checkpoint_and_the_validation(fitted):
    state = load_checkpoint(f'{fitted.work_dir}/epoch_1.pth')['state_dict']
    for name, value in fitted.model.state_dict().items():
        assert torch.equal(state[name], value)
    assert len(state['memory_bank.rows']) == 100  # 10 % of 7 images x 144
    with open(f'{fitted.work_dir}/metrics.json') as file:
        assert '"image_auroc"' in file.read()


def test_same_seed_same_bank(fitted, config, tmp_path):
    again = run(config, tmp_path, **{'train_dataloader.num_workers': 1})
    assert torch.equal(again.model.memory_bank.rows,
                       fitted.model.memory_bank.rows)


def test_resumed_after_the_fit(fitted, config, tmp_path):
    again = run(
        config,
        tmp_path,
        resume=True,
        load_from=f'{fitted.work_dir}/epoch_1.pth')
    assert torch.equal(again.model.memory_bank.rows,
                       fitted.model.memory_bank.rows)
    # Nothing is left to do but to validate.
    assert (tmp_path / 'metrics.json').read_bytes() == Path(
        fitted.work_dir, 'metrics.json').read_bytes()
    assert not (tmp_path / 'epoch_1.pth').exists()


def test_half_of_the_images(config, tmp_path):
    with pytest.raises(InputError, match='would leave out images'):
        run(config, tmp_path, **{'train_dataloader.drop_last': True})
    assert not (tmp_path / 'epoch_1.pth').exists()


@pytest.mark.parametrize(
    ('changes', 'passes', 'epochs'), [({
        'train_cfg.max_epochs': 2
    }, 1, 2), (two_passes(1), 2, 1), (two_passes(3), 2, 3)])
def test_other_epochs_than_passes(config, tmp_path, changes, passes, epochs):
    with pytest.raises(
            InputError,
            match=
        (fr'is fitted in {passes} epoch\(s\), but `train_cfg.max_epochs` '
         fr'is {epochs}; set it to {passes}\.')):
        run(config, tmp_path, **changes)
    assert not list(tmp_path.glob('*.pth'))


def test_two_passes(config, tmp_path):
    runner = run(
        config,
        tmp_path,
        **two_passes(),
        custom_hooks=[dict(type='FitHook'),
                      dict(type='DiaryHook')])
    diary, = (h for h in runner.hooks if isinstance(h, DiaryHook))
    assert diary.entries == [(True, False), (True, True), 'validation']
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_2.pth']
    state = load_checkpoint(str(tmp_path / 'epoch_2.pth'))['state_dict']
    assert state['reduction.basis'].shape == (16, 5)
    assert state['gaussians.mean'].shape == (12, 12, 5)
    for name, value in runner.model.state_dict().items():
        assert torch.equal(state[name], value)
    assert (tmp_path / 'metrics.json').exists()


def test_two_passes_are_not_saved_in_between(config, tmp_path):
    run(config, tmp_path, **two_passes(interval=1))
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_2.pth']
