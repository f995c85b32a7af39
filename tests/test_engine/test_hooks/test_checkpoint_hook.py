import math
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmad.engine import CheckpointHook
from mmad.errors import InputError
from mmad.registry import HOOKS
from mmad.utils import load_checkpoint

METRICS = ('image_auroc', 'image_ap', 'image_f1max', 'pixel_auroc', 'pixel_ap',
           'pixel_f1max', 'aupro', 'anomalous_only/aupro')


def names(folder):
    return sorted(path.name for path in Path(folder).glob('*.pth'))


@HOOKS.register_module(force=True)
class StopHook(Hook):
    """Stops as EarlyStoppingHook does, after the first validation."""

    priority = 'LOWEST'

    def after_val_epoch(self, runner, metrics=None):
        runner.train_loop.stop_training = True


@pytest.mark.parametrize('name', METRICS)
def test_more_is_better_of_all_metrics(name):
    assert CheckpointHook(save_best=name).rules == ['greater']


def test_rules_that_are_given_or_of_others_still_count():
    assert CheckpointHook(save_best='aupro', rule='less').rules == ['less']
    assert CheckpointHook(save_best=['loss', 'image_ap']).rules == [
        'less', 'greater'
    ]
    with pytest.raises(InputError, match='set `rule`'):
        CheckpointHook(save_best='latency')


@pytest.mark.parametrize(
    'best', ['image_auroc', 'auto', ['aupro', 'anomalous_only/pixel_ap']])
def test_best_checkpoint_is_kept(make_runner, tmp_path, best):
    runner = make_runner('mkd_config',
                         **{'default_hooks.checkpoint.save_best': best})
    runner.train()
    chosen = [best] if isinstance(best, str) else best
    for name in chosen:
        name = {'auto': 'image_auroc'}.get(name, name).replace('/', '_')
        path, = tmp_path.glob(f'best_{name}_epoch_*.pth')
        runner.model.load_state_dict(load_checkpoint(str(path))['state_dict'])


def test_published_and_elsewhere(make_runner, tmp_path):
    runner = make_runner(
        'mkd_config', **{
            'default_hooks.checkpoint':
            dict(
                save_best='aupro',
                out_dir=str(tmp_path / 'out'),
                published_keys=['meta', 'state_dict'],
                max_keep_ckpts=1,
                filename_tmpl='net_{}.pth')
        })
    runner.train()
    folder = tmp_path / 'out' / tmp_path.name
    assert (tmp_path / 'last_checkpoint').read_text() == str(folder /
                                                             'net_2.pth')
    published = list(folder.glob('net_2-????????.pth'))
    assert len(published) == 1
    assert set(load_checkpoint(str(published[0]))) == {'meta', 'state_dict'}


def test_metric_that_is_never_a_number_is_not_published(monkeypatch):
    hook = CheckpointHook(published_keys=['meta'])
    hook._publish_model(None, None)


def test_out_dir_that_is_a_file(make_runner, tmp_path):
    (tmp_path / 'taken').touch()
    for place in ('taken', 'taken/below'):
        runner = make_runner(
            'config',
            **{'default_hooks.checkpoint.out_dir': str(tmp_path / place)})
        with pytest.raises(InputError, match='`out_dir` of the Checkpoint'):
            runner.train()
        assert runner.iter == 0


def test_best_of_a_metric_that_is_not_there(make_runner):
    hook = CheckpointHook(save_best='aupro')
    with pytest.raises(InputError, match='but the metrics are accuracy'):
        hook.after_val_epoch(None, dict(accuracy=math.nan))


@pytest.mark.parametrize('interval', [1, 2, 5])
def test_last_state_of_a_run_that_is_stopped(make_runner, tmp_path, interval):
    runner = make_runner(
        'mkd_config', **{
            'more_hooks': [dict(type='StopHook')],
            'train_cfg.max_epochs': 5,
            'default_hooks.checkpoint.interval': interval
        })
    runner.train()
    assert names(tmp_path) == ['epoch_1.pth']
    assert load_checkpoint(str(tmp_path / 'epoch_1.pth'))['meta']['epoch'] == 1
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')


def test_by_iterations(make_runner, tmp_path):
    runner = make_runner(
        'mkd_config', **{
            'train_cfg':
            dict(
                _delete_=True,
                type='IterBasedTrainLoop',
                max_iters=4,
                val_interval=4),
            'default_hooks.checkpoint':
            dict(by_epoch=False, interval=3)
        })
    runner.train()
    assert names(tmp_path) == ['iter_3.pth', 'iter_4.pth']


def test_unfitted_at_the_end_is_not_saved(make_runner, tmp_path):
    runner = make_runner('config')
    hook, = (h for h in runner.hooks if isinstance(h, CheckpointHook))
    runner.train_loop._epoch = 0
    with pytest.raises(InputError, match='not fitted at the end'):
        hook._save_checkpoint(runner)
    assert not names(tmp_path)


@pytest.mark.parametrize('best', ['image_auroc', ['aupro', 'image_ap']])
def test_a_resumed_checkpoint_runs_and_removes_nothing(make_runner, tmp_path,
                                                       best):
    changes = {
        'default_hooks.checkpoint.save_best': best,
        'default_hooks.checkpoint.max_keep_ckpts': 1,
        'train_cfg.max_epochs': 1
    }
    make_runner('mkd_config', **changes).train()
    mine = tmp_path / 'mine'
    files = [mine / 'a.pth', mine / 'folder' / 'b.txt', mine / 'best_c.pth']
    (mine / 'folder').mkdir(parents=True)
    for file in files:
        file.touch()
    (tmp_path / 'epoch_x').mkdir()
    state = load_checkpoint(str(tmp_path / 'epoch_1.pth'))
    state['meta']['config'] = f'open({str(tmp_path / "run")!r}, "w")'
    hub = state['message_hub']
    for number, path in enumerate((mine / 'folder', files[0], files[2],
                                   tmp_path / 'none' / '..' / 'mine', 7)):
        name = 'best_ckpt'
        names = [name] if isinstance(
            best, str) else [f'{name}_{one}' for one in best]
        scores = [one.replace('ckpt', 'score') for one in names]
        hub['runtime_info'].update(
            dict.fromkeys(names, path if path == 7 else str(path)),
            **dict.fromkeys(scores, -1.0),
            keep_ckpt_ids=['x/../mine/a', 2, 3, 4])
        hub['resumed_keys'].update(dict.fromkeys([*names, *scores], True))
        evil = tmp_path / f'evil_{number}.pth'
        torch.save(state, evil)
        runner = make_runner(
            'mkd_config', **{
                **changes, 'train_cfg.max_epochs': 2,
                'load_from': str(evil),
                'resume': True
            })
        runner.train()
        assert runner.epoch == 2
        assert not (tmp_path / 'run').exists()
        assert all(file.exists() for file in files)


def test_own_best_checkpoint_gives_way_after_a_resume(make_runner, tmp_path):
    changes = {
        'default_hooks.checkpoint.save_best': 'image_auroc',
        'train_cfg.max_epochs': 1
    }
    make_runner('mkd_config', **changes).train()
    state = load_checkpoint(str(tmp_path / 'epoch_1.pth'))
    state['message_hub']['runtime_info']['best_score'] = -1.0
    torch.save(state, tmp_path / 'epoch_1.pth')
    make_runner(
        'mkd_config', **{
            **changes, 'train_cfg.max_epochs': 2,
            'load_from': str(tmp_path / 'epoch_1.pth'),
            'resume': True
        }).train()
    best, = tmp_path.glob('best_*.pth')
    assert best.name.endswith('epoch_2.pth')


@pytest.mark.parametrize(
    'name', ['mkd_config', 'students_config', 'fyd_config', 'config'])
def test_a_complete_checkpoint_is_validated_once(make_runner, tmp_path, name):
    runner = make_runner(name)
    runner.train()
    metrics = (tmp_path / 'metrics.json').read_text()
    last = (tmp_path / 'last_checkpoint').read_text()
    # As if it had been killed in its last validation.
    (tmp_path / 'metrics.json').unlink()
    resumed = make_runner(name, load_from=last, resume=True)
    validations = []
    loop = resumed.val_loop
    run = loop.run
    loop.run = lambda: validations.append(run())
    resumed.train()
    assert (tmp_path / 'metrics.json').read_text() == metrics
    assert len(validations) == 1


@pytest.mark.parametrize('template', [
    '../{}.pth', 'a/../../{}.pth', '/tmp/{}.pth', '{}{}.pth', '{number}.pth',
    '{.pth', '{:q}.pth', 3
])
def test_names_that_lead_outside_or_have_no_number(make_runner, tmp_path,
                                                   template):
    runner = make_runner(
        'mkd_config', **{'default_hooks.checkpoint.filename_tmpl': template})
    with pytest.raises(InputError, match='filename_tmpl'):
        runner.train()
    assert names(tmp_path) == names(tmp_path.parent) == []
