import itertools

import pytest
from mmengine.hooks import Hook

from mmad.engine import check_runner
from mmad.errors import InputError

FIT = dict(type='FitHook')
AFTER = dict(type='FitAfterTrainHook')
TEACHERS = dict(type='TeacherStatisticsHook')
STUDENTS = dict(type='StudentStatisticsHook')
NORMS = dict(type='SyncNormHook')
OTHERS = [dict(type='EmptyCacheHook'), NORMS]
NEEDED = dict(
    config=[FIT],
    fyd_config=[AFTER],
    students_config=[TEACHERS, STUDENTS],
    mkd_config=[])
ITERATIONS = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=4, val_interval=2)


def refused(runner, folder):
    """The sentence with which a runner ends before anything is computed."""
    with pytest.raises(InputError) as caught:
        runner.train()
    assert runner.iter == runner.epoch == 0
    assert not list(folder.rglob('*.pth'))
    text = str(caught.value)
    assert text.endswith('.')
    assert '\n' not in text
    return text


@pytest.mark.parametrize(
    'no_validation',
    [{}, dict(val_cfg=None, val_dataloader=None, val_evaluator=None)])
@pytest.mark.parametrize('name', ['config', 'fyd_config', 'students_config'])
def test_each_hook_that_is_missing_is_named(make_runner, tmp_path, name,
                                            no_validation):
    for missing in NEEDED[name]:
        rest = [hook for hook in NEEDED[name] if hook is not missing]
        lists = [[*rest, *OTHERS], rest or None]
        for hooks in lists:
            text = refused(
                make_runner(name, custom_hooks=hooks, **no_validation),
                tmp_path)
            assert f'needs the {missing["type"]}' in text
            assert f'dict(type="{missing["type"]}")' in text


@pytest.mark.parametrize('name', NEEDED)
def test_what_is_complete_passes_in_any_order(make_runner, name):
    for hooks in itertools.permutations([*NEEDED[name], *OTHERS[:1]]):
        check_runner(make_runner(name, custom_hooks=list(hooks)))


@pytest.mark.parametrize(('name', 'hooks', 'match'), [
    ('config', [FIT, FIT], 'FitHook twice'),
    ('config', [FIT, AFTER], 'FitAfterTrainHook, which is not for PatchCore'),
    ('config', [AFTER], 'put dict(type="FitHook") in its place'),
    ('fyd_config', [FIT, AFTER], 'FitHook, which is not for FYD'),
    ('mkd_config', [FIT], 'FitHook, which is not for MKD'),
    ('mkd_config', [STUDENTS], 'StatisticsHook, which is not for MKD'),
    ('config', [FIT, STUDENTS], 'which is not for PatchCore'),
    ('config', [dict(FIT, priority='LOWEST')], 'FitHook comes after the '
     'CheckpointHook'),
    ('config', [dict(FIT, priority=95)], 'FitHook comes after'),
    ('fyd_config', [dict(AFTER, priority='LOWEST')], 'comes after'),
    ('students_config', [TEACHERS, dict(STUDENTS, priority='LOWEST')
                         ], 'StudentStatisticsHook comes after'),
    ('fyd_config', [NORMS, dict(AFTER, priority='HIGH')
                    ], 'FitAfterTrainHook comes before the SyncNormHook'),
    ('config', [FIT, dict(type='SyncBuffersHook')], 'SyncNormHook'),
    ('mkd_config', [dict(type='SyncBuffersHook')], 'SyncNormHook'),
    ('config', [FIT, dict(type='EMAHook')], 'EMAHook does not go with '
     'PatchCore'),
    ('fyd_config', [AFTER, dict(type='EMAHook')], 'does not go with FYD'),
    ('students_config', [TEACHERS, STUDENTS,
                         dict(type='EMAHook')
                         ], 'does not go with UninformedStudents'),
    ('mkd_config', [
        dict(type='EarlyStoppingHook', monitor='image_auprc', rule='greater')
    ], 'but the metrics are image_auroc'),
])
def test_hooks_that_do_not_suit(make_runner, tmp_path, name, hooks, match):
    assert match in refused(make_runner(name, custom_hooks=hooks), tmp_path)


def test_statistics_of_several_processes(make_runner, tmp_path, monkeypatch):
    bare, whole = (
        make_runner('mkd_config', custom_hooks=hooks)
        for hooks in (None, [NORMS]))
    check_runner(bare)
    monkeypatch.setattr('mmad.engine.hooks.runner_check.get_world_size',
                        lambda: 2)
    assert 'dict(type="SyncNormHook")' in refused(bare, tmp_path)
    check_runner(whole)
    iterations = make_runner(
        'mkd_config', custom_hooks=[NORMS], train_cfg=ITERATIONS)
    assert 'use EpochBasedTrainLoop' in refused(iterations, tmp_path)


@pytest.mark.parametrize(('name', 'changes', 'match'), [
    ('config', dict(train_cfg=ITERATIONS), 'needs epochs for the FitHook'),
    ('students_config', dict(train_cfg=ITERATIONS), 'use EpochBasedTrainLoop'),
    ('fyd_config', dict(train_cfg=ITERATIONS), 'use EpochBasedTrainLoop'),
    ('mkd_config', {
        'train_cfg.max_epochs': 0
    }, 'not one step of training'),
    ('mkd_config', {
        'train_dataloader.batch_size': 8,
        'train_dataloader.drop_last': True
    }, 'drop_last'),
    ('config', {
        'train_dataloader.drop_last': True
    }, 'drop_last=False'),
    ('fyd_config', {
        'train_dataloader.drop_last': True
    }, 'drop_last=False'),
    ('config', {
        'train_dataloader.sampler': dict(
            _delete_=True, type='InfiniteSampler')
    }, 'an epoch never ends'),
    ('mkd_config', {
        'train_dataloader.sampler': dict(
            _delete_=True, type='InfiniteSampler')
    }, 'an epoch never ends'),
])
def test_loops_and_loaders_that_do_not_suit(make_runner, tmp_path, name,
                                            changes, match):
    assert match in refused(make_runner(name, **changes), tmp_path)


@pytest.mark.parametrize(('name', 'wrapper'), [
    ('config', 'RepeatDataset'),
    ('fyd_config', 'RepeatDataset'),
    ('students_config', 'RepeatDataset'),
    ('config', 'mmengine.ConcatDataset'),
    ('fyd_config', 'mmengine.ConcatDataset'),
])
@pytest.mark.parametrize('depth', [1, 2])
def test_data_sets_around_data_sets(load_cfg, make_runner, tmp_path, name,
                                    wrapper, depth):
    inner = load_cfg(name).train_dataloader.dataset
    around = dict(
        times=2, dataset=inner) if wrapper == 'RepeatDataset' else (dict(
            datasets=[inner, inner]))
    dataset = dict(type=wrapper, **around)
    if depth == 2:
        dataset = dict(type='ConcatDataset', datasets=[dataset])
    runner = make_runner(
        name, **{'train_dataloader.dataset': dict(_delete_=True, **dataset)})
    name = wrapper.rpartition('.')[2]
    assert f'which {name} does not ensure' in refused(runner, tmp_path)


@pytest.mark.parametrize('name', ['config', 'fyd_config', 'students_config'])
def test_several_data_sets_as_one(load_cfg, make_runner, name):
    inner = load_cfg(name).train_dataloader.dataset
    dataset = dict(
        _delete_=True, type='ConcatDataset', datasets=[inner, inner])
    check_runner(make_runner(name, **{'train_dataloader.dataset': dataset}))


def test_no_other_image_takes_the_place_of_one_that_is_fitted(
        make_runner, tmp_path):
    changes = {'train_dataloader.dataset.max_refetch': 1}
    assert '`max_refetch`' in refused(
        make_runner('config', **changes), tmp_path)
    check_runner(make_runner('mkd_config', **changes))


@pytest.mark.parametrize(('name', 'checkpoint', 'match'), [
    ('config', dict(by_epoch=False), 'use by_epoch=True'),
    ('fyd_config', dict(by_epoch=False), 'use by_epoch=True'),
    ('students_config', dict(by_epoch=False), 'use by_epoch=True'),
    ('config', dict(interval=-1, save_last=False), 'save no fitted'),
    ('config', dict(interval=2, save_last=False), 'save no fitted'),
    ('mkd_config', dict(interval=3, save_last=False), 'save no checkpoint'),
    ('fyd_config', dict(interval=3, save_last=False), 'save no fitted'),
    ('mkd_config', dict(save_best='image_auprc',
                        rule='greater'), 'but the metrics are image_auroc'),
    ('mkd_config', dict(save_best=['aupro', 'pixel_auroc_'],
                        rule='greater'), 'names "pixel_auroc_"'),
])
def test_checkpoints_that_do_not_suit(make_runner, tmp_path, name, checkpoint,
                                      match):
    changes = {
        f'default_hooks.checkpoint.{key}': value
        for key, value in checkpoint.items()
    }
    assert match in refused(make_runner(name, **changes), tmp_path)


def test_best_checkpoint_without_validation(make_runner, tmp_path):
    runner = make_runner(
        'mkd_config',
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
        **{'default_hooks.checkpoint.save_best': 'aupro'})
    assert 'needs a validation' in refused(runner, tmp_path)


def test_validation_before_the_last_pass(make_runner, tmp_path):
    runner = make_runner(
        'config', **{
            'model':
            dict(
                _delete_=True,
                type='PaDiM',
                reduction='pca',
                dim=5,
                backbone=dict(type='TinyBackbone'),
                data_preprocessor=dict(type='ImgDataPreprocessor')),
            'train_cfg.max_epochs':
            2
        })
    assert 'set `train_cfg.val_interval=2`' in refused(runner, tmp_path)


def test_without_checkpoint_hook_the_detector_speaks(make_runner, tmp_path):
    for checkpoint in (None, dict(type='mmengine.CheckpointHook', interval=1)):
        runner = make_runner(
            'config', **{
                'custom_hooks': [],
                'default_hooks.checkpoint': checkpoint
            })
        with pytest.raises(InputError, match='needs the FitHook'):
            runner.train()
        assert not list(tmp_path.glob('*.pth'))


def test_hook_of_ones_own_counts_as_what_it_derives_from(
        make_runner, monkeypatch):
    from mmad.engine import FitHook

    # Hooks that are objects are no text of a config.
    monkeypatch.setattr('mmengine.config.config.FormatCode',
                        lambda text, **kwargs: (text, True))

    class OwnFitHook(FitHook):
        pass

    class OwnHook(Hook):
        pass

    check_runner(make_runner('config', custom_hooks=[OwnFitHook(), OwnHook()]))


@pytest.mark.parametrize('options', [[], ['--no-validate']])
def test_tool_ends_with_the_sentence(run_tool, config, tmp_path, options):
    (tmp_path /
     'own.py').write_text(config.read_text() +
                          'custom_hooks = [dict(type="EmptyCacheHook")]')
    done = run_tool(tmp_path, 'train.py', 'own.py', '--category', 'bottle',
                    '--work-dir', 'work', *options)
    assert done.status == 2
    assert done.err.splitlines()[-1].startswith(
        'error: PatchCore needs the FitHook, which is missing in '
        '`custom_hooks`')
    assert not list(tmp_path.rglob('*.pth'))
