from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmad.models import FitDetector
from mmad.registry import (
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    OPTIMIZERS,
    TRANSFORMS,
    VISUALIZERS,
)

ROOT = Path(__file__).parents[1] / 'configs'
LEAVES = sorted(
    path for path in ROOT.rglob('*.py') if '_base_' not in path.parts)


def depth(path):
    bases = Config._get_base_files(str(path))
    return 1 + max((depth(path.parent / base) for base in bases), default=0)


def test_there_are_some():
    assert len(LEAVES) >= 7


def test_unique_names():
    assert len({path.stem for path in LEAVES}) == len(LEAVES)


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_builds(path, tmp_path, monkeypatch):
    monkeypatch.setenv('MMAD_DATA', str(tmp_path))
    cfg = Config.fromfile(path)
    cfg.model.backbone.weights = None
    # Random weights need no values, so this takes no time.
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert model.signature()['detector'] == cfg.model.type
    interval = cfg.train_cfg.get('val_interval', 1)
    assert cfg.default_hooks.checkpoint.interval == interval
    if isinstance(model, FitDetector) and not model.needs_training:
        # Validated and saved once the last pass is over, and not before.
        assert cfg.train_cfg.max_epochs == interval == model.num_passes
    else:
        assert cfg.train_cfg.max_epochs % interval == 0
        assert cfg.train_dataloader.sampler.shuffle
        assert OPTIMIZERS.get(cfg.optim_wrapper.optimizer.type) is not None
        if 'param_scheduler' in cfg:
            assert cfg.param_scheduler.T_max == cfg.train_cfg.max_epochs
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.data_root.startswith(f'{tmp_path}/')
        built = DATASETS.build(dict(dataset, lazy_init=True))
        assert built.split == ('train' if split == 'train' else 'test')
        assert [TRANSFORMS.get(step.type) for step in dataset.pipeline]
    assert cfg.test_dataloader == cfg.val_dataloader
    assert cfg.test_evaluator == cfg.val_evaluator
    for metric in cfg.val_evaluator:
        METRICS.build(metric)
    for hook in (*cfg.default_hooks.values(), *cfg.custom_hooks):
        HOOKS.build(hook)
    assert VISUALIZERS.get(cfg.visualizer.type) is not None


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_at_most_two_levels_over_the_bases(path):
    # A leaf, the leaf that it varies, and the parts in `_base_`.
    assert depth(path) <= 3
    first = [path.parent / base for base in Config._get_base_files(str(path))]
    assert all('_base_' in base.parts or depth(base) <= 2 for base in first)
