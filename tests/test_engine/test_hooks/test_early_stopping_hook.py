import pytest

from mmad.engine import EarlyStoppingHook
from mmad.errors import InputError

METRICS = ('image_auroc', 'image_ap', 'image_f1max', 'pixel_auroc', 'pixel_ap',
           'pixel_f1max', 'aupro', 'anomalous_only/pixel_ap')


@pytest.mark.parametrize('name', METRICS)
def test_more_is_better_of_all_metrics(name):
    assert EarlyStoppingHook(name).rule == 'greater'


def test_rules_that_are_given_or_of_others_still_count():
    assert EarlyStoppingHook('aupro', rule='less').rule == 'less'
    assert EarlyStoppingHook('loss').rule == 'less'
    with pytest.raises(InputError, match='set `rule`'):
        EarlyStoppingHook('latency')


def test_stops_and_saves(make_runner, tmp_path):
    runner = make_runner(
        'mkd_config', **{
            'more_hooks': [
                dict(
                    type='EarlyStoppingHook',
                    monitor='aupro',
                    patience=1,
                    min_delta=2.0)
            ],
            'train_cfg.max_epochs':
            5,
            'default_hooks.checkpoint.interval':
            5
        })
    runner.train()
    assert runner.epoch == 2
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_2.pth']
