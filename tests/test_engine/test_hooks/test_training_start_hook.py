from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmad.engine import TrainingStartHook
from mmad.errors import InputError
from mmad.structures import AnomalyDataSample
from mmad.utils import load_checkpoint, setup_environment


def runner_of(path, folder, **entries):
    cfg = Config.fromfile(path)
    cfg.category = 'bottle'
    cfg.train_dataloader.dataset.category = 'bottle'
    cfg.work_dir = str(folder)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=1)
    for name, value in entries.items():
        cfg[name] = value
    setup_environment()
    return Runner.from_cfg(cfg)


def left(folder, step):
    state = load_checkpoint(str(folder / f'iter_{step}.pth'))['state_dict']
    return sum(state['fit_state.batches_left'].tolist())


LOOPS = dict(
    epochs=dict(type='EpochBasedTrainLoop', max_epochs=2),
    iterations=dict(type='IterBasedTrainLoop', max_iters=5))


@pytest.mark.parametrize('loop', list(LOOPS))
def test_counts_an_epoch_and_goes_on(mkd_config, tmp_path, loop):
    # Seven images in batches of three.
    runner = runner_of(mkd_config, tmp_path / 'a', train_cfg=LOOPS[loop])
    runner.train()
    assert [left(tmp_path / 'a', step)
            for step in (1, 2, 3, 4)] == [2, 1, 0, 0]
    assert runner.model.is_fitted
    # From the middle of the first epoch: an epoch begins anew, iterations go
    # on.
    runner_of(
        mkd_config,
        tmp_path / 'b',
        train_cfg=LOOPS[loop],
        resume=True,
        load_from=str(tmp_path / 'a' / 'iter_2.pth')).train()
    assert left(tmp_path / 'b', 3) == (2 if loop == 'epochs' else 0)
    # From later: fitted all the time.
    runner_of(
        mkd_config,
        tmp_path / 'c',
        train_cfg=LOOPS[loop],
        resume=True,
        load_from=str(tmp_path / 'a' / 'iter_4.pth')).train()
    assert left(tmp_path / 'c', 5) == 0


def test_weights_of_another_run_begin_anew(mkd_config, tmp_path):
    runner_of(mkd_config, tmp_path / 'a', train_cfg=LOOPS['epochs']).train()
    runner_of(
        mkd_config,
        tmp_path / 'b',
        train_cfg=LOOPS['epochs'],
        load_from=str(tmp_path / 'a' / 'iter_6.pth')).train()
    assert left(tmp_path / 'b', 1) == 2


def test_cannot_be_forgotten(mkd_config, tmp_path):
    # A list of one's own hooks takes the place of the config's.
    runner_of(
        mkd_config,
        tmp_path / 'own',
        train_cfg=LOOPS['epochs'],
        custom_hooks=[]).train()
    runner = runner_of(
        mkd_config, tmp_path / 'none', train_cfg=LOOPS['epochs'])
    runner._hooks = [
        hook for hook in runner.hooks
        if not isinstance(hook, TrainingStartHook)
    ]
    with pytest.raises(InputError, match='needs the TrainingStartHook'):
        runner.train()
    assert not list(tmp_path.glob('none/*.pth'))


def test_too_short_a_training_does_not_predict(mkd_config, tmp_path):
    runner = runner_of(
        mkd_config,
        tmp_path,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=2))
    with pytest.raises(InputError, match='not fitted at the end'):
        runner.train()
    with pytest.raises(InputError, match='broken off 1 batches before'):
        runner.model(torch.zeros(1, 3, 48, 56), mode='predict')


@pytest.mark.parametrize(('shape', 'text'), [
    ((2000, 3000), 'Images of 3000x2000 pixels are reduced to 256x256, where '
     'defects narrower than about 24 pixels'),
    ((1024, 1024), None),
    (None, None),
])
def test_says_once_what_a_reduction_hides(shape, text):
    lines = []
    runner = SimpleNamespace(logger=SimpleNamespace(info=lines.append))
    known = {} if shape is None else dict(
        ori_shape=shape, resized_shape=(256, 256))
    hook = TrainingStartHook()
    for batch in (dict(data_samples=[AnomalyDataSample(
            metainfo=known)]), ) * 2:
        hook.before_train_iter(runner, 0, batch)
    assert len(lines) == (text is not None)
    assert all(line.startswith(text) for line in lines)
    # What other data loaders give.
    TrainingStartHook().before_train_iter(runner, 0, [1, 2])
    TrainingStartHook().before_train_iter(runner, 0, None)
