import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmad.engine.hooks import StudentStatisticsHook
from mmad.errors import InputError
from mmad.utils import load_checkpoint, setup_environment


def make_runner(config, folder, **changes):
    cfg = Config.fromfile(config)
    cfg.merge_from_dict({
        'work_dir': str(folder),
        'experiment_name': folder.name,
        'log_level': 'WARNING',
        'train_dataloader.dataset.category': 'bottle',
        'val_dataloader.dataset.category': 'bottle',
        'test_dataloader.dataset.category': 'bottle',
        **changes
    })
    setup_environment()
    return Runner.from_cfg(cfg)


@pytest.fixture(scope='module')
def trained(students_config, tmp_path_factory):
    """Work dir of three epochs, all saved, of which the second and the last
    are validated."""
    folder = tmp_path_factory.mktemp('calibrated')
    make_runner(
        students_config, folder, **{
            'train_cfg.max_epochs': 3,
            'default_hooks.checkpoint.interval': 1
        }).train()
    return folder


@pytest.mark.parametrize(('epoch', 'calibrated'), [(0, False), (1, False),
                                                   (2, True), (3, True)])
def test_calibrated_where_it_is_validated(trained, epoch, calibrated):
    state = load_checkpoint(str(trained / f'epoch_{epoch}.pth'))
    assert state['meta']['epoch'] == epoch
    for name in ('mean', 'std'):
        statistic = state['state_dict'][f'scales.p17.score_statistics.{name}']
        assert len(statistic) == (2 if calibrated else 0)


def test_calibrated_anew(trained):
    second, third = (
        load_checkpoint(str(trained / f'epoch_{i}.pth'))['state_dict']
        for i in (2, 3))
    assert (second['scales.p33.score_statistics.mean']
            != third['scales.p33.score_statistics.mean']).all()


def parts_of(students_config, folder, **changes):
    """Images that are trained on and those that are kept, by their files."""
    runner = make_runner(students_config, folder, **changes)
    hook, = (h for h in runner.hooks if isinstance(h, StudentStatisticsHook))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    hook.before_run(runner)
    loader = runner.train_loop.dataloader
    assert runner.max_iters == runner.max_epochs * len(loader)
    rest = loader.dataset
    assert len(loader.sampler) == len(rest)
    return [[part[i]['data_samples'].img_path for i in range(len(part))]
            for part in (rest, hook._held_out)]


@pytest.mark.parametrize(('share', 'number'), [(0.3, 2), (0.01, 1), (0.99, 6),
                                               (0.5, 4)])
def test_images_are_kept_from_the_training(students_config, tmp_path, share,
                                           number):
    hooks = [
        dict(type='TeacherStatisticsHook'),
        dict(type='StudentStatisticsHook', share=share)
    ]
    rest, kept = parts_of(students_config, tmp_path, custom_hooks=hooks)
    assert len(kept) == number
    assert len(rest) == 7 - number
    assert not set(rest) & set(kept)
    assert rest == sorted(rest)
    hooks[1]['seed'] = 3
    other = parts_of(students_config, tmp_path, custom_hooks=hooks)[1]
    assert len(other) == number
    again = parts_of(students_config, tmp_path, custom_hooks=hooks)[1]
    assert again == other


def test_out_of_several_data_sets(students_config, tmp_path):
    dataset = Config.fromfile(students_config).train_dataloader.dataset
    dataset.category = 'bottle'
    rest, kept = parts_of(
        students_config, tmp_path, **{
            'train_dataloader.dataset':
            dict(
                _delete_=True,
                type='ConcatDataset',
                datasets=[
                    dict(dataset, indices=4),
                    dict(dataset, indices=[4, 5, 6])
                ])
        })
    assert len(rest) == 5
    assert len(set(rest + kept)) == 7


@pytest.mark.parametrize('share', [0, 1, -0.1, 'x', None])
def test_no_share(share):
    with pytest.raises(InputError, match='`share` must be'):
        StudentStatisticsHook(share)


def test_a_schedule_of_all_iterations(students_config, tmp_path):
    runner = make_runner(
        students_config,
        tmp_path,
        param_scheduler=dict(
            type='LinearLR',
            start_factor=0.1,
            begin=0,
            end=2,
            by_epoch=True,
            convert_to_iter_based=True))
    with pytest.raises(InputError, match='`convert_to_iter_based` counts'):
        runner.train()
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.parametrize(('end', 'is_refused'), [({}, True),
                                                 (dict(end=12), False)])
def test_a_schedule_of_iterations(students_config, tmp_path, end, is_refused):
    runner = make_runner(
        students_config, tmp_path, **{
            'param_scheduler': dict(type='PolyLR', by_epoch=False, **end),
            'train_cfg.val_interval': 4
        })
    if is_refused:
        # Five of seven images, in three batches.
        with pytest.raises(InputError, match=r'`end`, which is 12 for'):
            runner.train()
    else:
        runner.train()
        assert runner.iter == 12
        assert runner.optim_wrapper.param_groups[0]['lr'] == 0


def test_a_test_after_the_training(students_config, tmp_path):
    runner = make_runner(
        students_config, tmp_path, **{
            'train_dataloader.dataset.indices': 2,
            'train_cfg.max_epochs': 1,
            'train_cfg.val_interval': 1
        })
    runner.train()
    assert runner.test()
    assert len(runner.train_dataloader.dataset) == 1
