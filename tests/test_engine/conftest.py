from copy import deepcopy

import mmengine.config.config
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmad.utils import setup_environment

MODELS = dict(
    config={'model.backbone': dict(_delete_=True, type='TinyBackbone')},
    mkd_config={
        'model.backbone': dict(_delete_=True, type='TinyBackbone'),
        'model.cloner': dict(
            _delete_=True, type='Cloner', widths=((6, 6), (6, 6), (6, 10)),
            points=(1, 2)),
        'model.test_points': None,
        'train_cfg.max_epochs': 2,
        'train_cfg.val_interval': 1,
        'default_hooks.checkpoint.interval': 1})


@pytest.fixture
def quick_config(monkeypatch):
    # Formatting the config takes most of the time of a small run.
    monkeypatch.setattr(mmengine.config.config, 'FormatCode',
                        lambda text, **kwargs: (text, True))


@pytest.fixture
def load_cfg(request, quick_config, tmp_path):
    """Load the config of a fixture, with the smallest model it can have, and
    with `more_hooks` behind its own."""

    def load(name, folder=tmp_path, more_hooks=(), **changes):
        cfg = Config.fromfile(request.getfixturevalue(name))
        if more_hooks:
            cfg.custom_hooks = [*cfg.custom_hooks, *more_hooks]
        for part in (dict(log_level='WARNING'), MODELS.get(name, {}), changes):
            # Merging takes `_delete_` out of what it is given.
            cfg.merge_from_dict(deepcopy(part))
        cfg.merge_from_dict(
            dict(work_dir=str(folder), experiment_name=folder.name))
        for loader in ('train', 'val', 'test'):
            if cfg.get(f'{loader}_dataloader') is not None:
                dataset = cfg[f'{loader}_dataloader'].dataset
                if dataset.type == 'AnomalyDataset':
                    dataset.category = 'bottle'
        return cfg

    return load


@pytest.fixture
def make_runner(load_cfg):
    """A plain runner, as a script of the user's would make it."""

    def make(name, **changes):
        setup_environment()
        return Runner.from_cfg(load_cfg(name, **changes))

    return make
