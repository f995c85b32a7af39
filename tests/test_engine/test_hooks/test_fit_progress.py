import os
import signal
from pathlib import Path

import pytest
import torch
from interrupted_fits import (
    MODELS,
    PASSES,
    fit,
    fit_in_processes,
    fitted_state,
    resume,
)

from mmad.datasets import AnomalyDataset
from mmad.engine import FitHook
from mmad.engine.hooks import CalibrationHook, fit_progress
from mmad.errors import InputError
from mmad.models import FitDetector
from mmad.models.layers import MemoryBank, coreset, coreset_filling
from mmad.utils import load_checkpoint

NORMALIZATION = dict(
    type='ImgDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375])


@pytest.fixture(autouse=True)
def note_often(monkeypatch):
    monkeypatch.setattr(fit_progress, '_BATCHES', 2)
    monkeypatch.setattr(fit_progress, '_IMAGES', 3)
    monkeypatch.setattr(coreset, '_NOTED', 20)
    monkeypatch.setattr(coreset_filling, '_NOTED', 2)


@pytest.fixture
def make_cfg(load_cfg, tmp_path):
    """A fit of seven images without a validation, which is always noted."""

    def make(name, folder='work', model=None, **changes):
        passes = PASSES.get(name, 1)
        model = dict(MODELS[name], **(model or {}))
        changes = {
            'model':
            dict(model, _delete_=True, data_preprocessor=NORMALIZATION),
            'custom_hooks':
            [dict(type='FitHook', progress_after=0, progress_interval=0)],
            'train_dataloader.batch_size':
            1,
            'train_cfg.max_epochs':
            passes,
            'default_hooks.checkpoint.interval':
            passes,
            'log_level':
            'INFO',
            **changes
        }
        cfg = load_cfg('config', tmp_path / folder, **changes)
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        return cfg

    return make


def assert_same(cfg, other):
    found, expected = fitted_state(cfg), fitted_state(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def log_of(runner):
    return Path(runner.logger.log_file).read_text()


def folder_of(cfg):
    return Path(cfg.work_dir, 'fit_progress')


@pytest.mark.parametrize('name', MODELS)
def test_goes_on_bit_for_bit(make_cfg, name):
    whole = make_cfg(name, 'whole')
    fit(whole)
    assert not folder_of(whole).exists()
    cfg, resumed = make_cfg(name), []
    # Each time, it comes a little further.
    for number in (4, 3, 10, 9, None):
        runner = fit(resume(cfg), number)
        resumed.append('Resumed the fit' in log_of(runner))
        if not folder_of(cfg).exists():
            break
    assert_same(cfg, whole)
    # Nothing had been noted by the first times.
    assert resumed == sorted(resumed)
    assert resumed[-1]


@pytest.mark.parametrize('name', ['patchcore', 'ensemble'])
def test_killed_in_several_processes(make_cfg, name):
    whole = make_cfg(name, 'whole')
    fit(whole)
    cfg = make_cfg(name)
    for number in (10, 4):
        ends = fit_in_processes(2, resume(cfg), number)
        assert all(ends)
    assert fit_in_processes(2, resume(cfg)) == [0, 0]
    assert_same(cfg, whole)
    logs = ''.join(path.read_text()
                   for path in Path(cfg.work_dir).rglob('*.log'))
    assert logs.count('Resumed the fit') == 2
    assert not folder_of(cfg).exists()


@pytest.mark.parametrize('world', [1, 2])
@pytest.mark.parametrize('name', ['patchcore', 'spade', 'ensemble'])
def test_killed_in_the_calibration(make_cfg, monkeypatch, name, world):
    whole = make_cfg(name, 'whole')
    fit(whole)
    cfg = make_cfg(name)
    with monkeypatch.context() as patch:
        patch.setattr(CalibrationHook, '_calibrate',
                      lambda *args: os.kill(os.getpid(), signal.SIGKILL))
        assert all(fit_in_processes(world, cfg))
    # Only the calibration is repeated.
    monkeypatch.setattr(FitDetector, 'fit_step', None)
    assert fit_in_processes(world, resume(cfg)) == [0] * world
    assert_same(cfg, whole)


def test_what_is_noted_is_not_loaded_again(make_cfg, monkeypatch):
    cfg = make_cfg('patchcore', **{'default_hooks.calibration.method': 'off'})
    fit(cfg, 12)
    loaded = []
    get = AnomalyDataset.prepare_data
    monkeypatch.setattr(AnomalyDataset, 'prepare_data', lambda self, i:
                        (loaded.append(i), get(self, i))[1])
    runner = fit(resume(cfg))
    assert 'Resumed the fit: 6 of 7 images' in log_of(runner)
    # The last one that was seen, for what depends on it beside the bank.
    assert loaded == [5, 6]
    assert runner.iter == 7


def test_goes_on_in_the_selection(make_cfg):
    cfg = make_cfg('patchcore')
    fit(cfg, 20)
    # The distances are those of the last note only.
    files = [
        load_checkpoint(path) for path in folder_of(cfg).rglob('state_*.pth')
    ]
    assert sum('choice.nearest' in file['state'] for file in files) == 1
    runner = fit(resume(cfg))
    assert ('Resumed the fit: 7 of 7 images, 80 patches of the coreset'
            in log_of(runner))


def test_notes_of_another_fit(make_cfg):
    whole = make_cfg('patchcore', 'whole', dict(seed=1))
    fit(whole)
    fit(make_cfg('patchcore'), 15)
    cfg = make_cfg('patchcore', model=dict(seed=1))
    runner = fit(resume(cfg))
    assert ('not used: they are of another fit (memory_bank.seed 0 instead '
            'of 1). The fit begins anew.' in log_of(runner))
    assert_same(cfg, whole)


@pytest.mark.parametrize('change', [
    {
        'train_dataloader.batch_size': 2
    },
    {
        'train_dataloader.dataset.pipeline.2.scale': (61, 52)
    },
    {
        'train_dataloader.dataset.category': 'other'
    },
])
def test_what_a_fit_depends_on(make_cfg, change, own_root):
    (own_root / 'bottle').rename(own_root / 'other')
    (own_root / 'bottle').symlink_to('other')
    root = {'train_dataloader.dataset.data_root': str(own_root)}
    fit(make_cfg('padim', **root), 6)
    cfg = make_cfg('padim', **root)
    cfg.merge_from_dict(change)
    assert 'another fit' in log_of(fit(resume(cfg)))


def test_another_number_of_processes(make_cfg):
    cfg = make_cfg('padim')
    assert all(fit_in_processes(2, cfg, 3))
    assert ('another fit (processes 2 instead of 1)'
            in log_of(fit(resume(cfg))))


@pytest.mark.parametrize('pattern', ['state_*.pth', 'note_*.json'])
def test_damaged_notes(make_cfg, pattern):
    whole = make_cfg('patchcore', 'whole')
    fit(whole)
    cfg = make_cfg('patchcore')
    fit(cfg, 16)
    path = sorted(folder_of(cfg).rglob(pattern))[-1]
    path.write_bytes(path.read_bytes()[:-20])
    assert 'not used: they are damaged' in log_of(fit(resume(cfg)))
    assert_same(cfg, whole)


def test_begins_anew_without_resume(make_cfg):
    cfg = make_cfg('patchcore')
    fit(cfg, 15)
    log = log_of(fit(cfg))
    assert 'from which --resume goes on. This fit begins anew' in log
    assert not folder_of(cfg).exists()


def test_an_earlier_checkpoint_in_the_work_dir(make_cfg):
    fit(make_cfg('padim', model=dict(seed=1)))
    whole = make_cfg('padim', 'whole')
    fit(whole)
    cfg = make_cfg('padim')
    fit(cfg, 6)
    assert 'Resumed the fit' in log_of(fit(resume(cfg)))
    assert_same(cfg, whole)


def test_full_disk(make_cfg, monkeypatch):
    whole = make_cfg('patchcore', 'whole')
    fit(whole)
    write, left = fit_progress.open_atomically, [6]

    def fail(path):
        left[0] -= 1
        if left[0] < 0:
            raise InputError(f'"{path}" cannot be written (no space).')
        return write(path)

    monkeypatch.setattr(fit_progress, 'open_atomically', fail)
    cfg = make_cfg('patchcore')
    log = log_of(fit(cfg))
    assert log.count('No notes of this fit') == 1
    assert 'cannot be written (no space). The fit goes on' in log
    assert left == [-1]
    assert_same(cfg, whole)


def test_a_module_that_tells_nothing(make_cfg, monkeypatch):
    monkeypatch.setattr(MemoryBank, 'tells_progress', False)
    cfg = make_cfg('patchcore')
    log = log_of(fit(cfg))
    assert log.count('The CoresetBank cannot tell how far it has come') == 1


@pytest.mark.parametrize(('number', 'is_noted'), [(0, True), (1000, False),
                                                  (None, False)])
def test_only_a_long_fit_is_noted(make_cfg, number, is_noted):
    cfg = make_cfg(
        'patchcore',
        custom_hooks=[
            dict(type='FitHook', progress_after=number, progress_interval=0)
        ])
    fit(cfg, 4)
    assert folder_of(cfg).exists() == is_noted


@pytest.mark.parametrize('name', ['progress_after', 'progress_interval'])
@pytest.mark.parametrize('value', [-1, 'abc', float('nan')])
def test_refused_arguments(name, value):
    with pytest.raises(InputError, match=f'`{name}` must be'):
        FitHook(**{name: value})
