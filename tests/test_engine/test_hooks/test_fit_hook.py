from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmad.errors import InputError
from mmad.utils import load_checkpoint


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
        config, tmp_path, resume=True,
        load_from=f'{fitted.work_dir}/epoch_1.pth')
    assert torch.equal(again.model.memory_bank.rows,
                       fitted.model.memory_bank.rows)
    # Nothing is left to do but to validate.
    assert (tmp_path / 'metrics.json').read_bytes() == Path(
        fitted.work_dir, 'metrics.json').read_bytes()
    assert not (tmp_path / 'epoch_1.pth').exists()


def test_half_of_the_images(config, tmp_path):
    with pytest.raises(InputError, match='collected 6 of 7 training images'):
        run(config, tmp_path, **{'train_dataloader.drop_last': True})
    assert not (tmp_path / 'epoch_1.pth').exists()
