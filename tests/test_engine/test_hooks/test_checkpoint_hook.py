import math
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from mmad.engine import CheckpointHook
from mmad.errors import InputError
from mmad.registry import HOOKS
from mmad.utils import load_checkpoint

METRICS = ('image_auroc', 'image_ap', 'image_f1max', 'pixel_auroc',
           'pixel_ap', 'pixel_f1max', 'aupro', 'anomalous_only/aupro')


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
    assert CheckpointHook(
        save_best=['loss', 'image_ap']).rules == ['less', 'greater']
    with pytest.raises(InputError, match='set `rule`'):
        CheckpointHook(save_best='latency')


@pytest.mark.parametrize('best', [
    'image_auroc', 'auto', ['aupro', 'anomalous_only/pixel_ap']])
def test_best_checkpoint_is_kept(make_runner, tmp_path, best):
    runner = make_runner('mkd_config', **{
        'default_hooks.checkpoint.save_best': best})
    runner.train()
    chosen = [best] if isinstance(best, str) else best
    for name in chosen:
        name = {'auto': 'image_auroc'}.get(name, name).replace('/', '_')
        path, = tmp_path.glob(f'best_{name}_epoch_*.pth')
        runner.model.load_state_dict(
            load_checkpoint(str(path))['state_dict'])


def test_published_and_elsewhere(make_runner, tmp_path):
    runner = make_runner('mkd_config', **{
        'default_hooks.checkpoint': dict(
            save_best='aupro', out_dir=str(tmp_path / 'out'),
            published_keys=['meta', 'state_dict'], max_keep_ckpts=1,
            filename_tmpl='net_{}.pth')})
    runner.train()
    folder = tmp_path / 'out' / tmp_path.name
    assert (tmp_path / 'last_checkpoint').read_text() == str(
        folder / 'net_2.pth')
    published = list(folder.glob('net_2-????????.pth'))
    assert len(published) == 1
    assert set(load_checkpoint(str(published[0]))) == {'meta', 'state_dict'}


def test_metric_that_is_never_a_number_is_not_published(monkeypatch):
    hook = CheckpointHook(published_keys=['meta'])
    hook._publish_model(None, None)


def test_out_dir_that_is_a_file(make_runner, tmp_path):
    (tmp_path / 'taken').touch()
    for place in ('taken', 'taken/below'):
        runner = make_runner('config', **{
            'default_hooks.checkpoint.out_dir': str(tmp_path / place)})
        with pytest.raises(InputError, match='`out_dir` of the Checkpoint'):
            runner.train()
        assert runner.iter == 0


def test_best_of_a_metric_that_is_not_there(make_runner):
    hook = CheckpointHook(save_best='aupro')
    with pytest.raises(InputError, match='but the metrics are accuracy'):
        hook.after_val_epoch(None, dict(accuracy=math.nan))


@pytest.mark.parametrize('interval', [1, 2, 5])
def test_last_state_of_a_run_that_is_stopped(make_runner, tmp_path, interval):
    runner = make_runner('mkd_config', **{
        'more_hooks': [dict(type='StopHook')],
        'train_cfg.max_epochs': 5,
        'default_hooks.checkpoint.interval': interval})
    runner.train()
    assert names(tmp_path) == ['epoch_1.pth']
    assert load_checkpoint(str(tmp_path / 'epoch_1.pth'))['meta']['epoch'] == 1
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')


def test_by_iterations(make_runner, tmp_path):
    runner = make_runner('mkd_config', **{
        'train_cfg': dict(_delete_=True, type='IterBasedTrainLoop',
                          max_iters=4, val_interval=4),
        'default_hooks.checkpoint': dict(by_epoch=False, interval=3)})
    runner.train()
    assert names(tmp_path) == ['iter_3.pth', 'iter_4.pth']


def test_unfitted_at_the_end_is_not_saved(make_runner, tmp_path):
    runner = make_runner('config')
    hook, = (h for h in runner.hooks if isinstance(h, CheckpointHook))
    runner.train_loop._epoch = 0
    with pytest.raises(InputError, match='not fitted at the end'):
        hook._save_checkpoint(runner)
    assert not names(tmp_path)


@pytest.mark.parametrize('template', [
    '../{}.pth', 'a/../../{}.pth', '/tmp/{}.pth', '{}{}.pth', '{number}.pth',
    '{.pth', '{:q}.pth', 3])
def test_names_that_lead_outside_or_have_no_number(make_runner, tmp_path,
                                                   template):
    runner = make_runner('mkd_config', **{
        'default_hooks.checkpoint.filename_tmpl': template})
    with pytest.raises(InputError, match='filename_tmpl'):
        runner.train()
    assert names(tmp_path) == names(tmp_path.parent) == []
