from mmengine.evaluator import DumpResults

from mmad.engine.hooks.metric_rules import reported_metrics
from mmad.evaluation import ImageMetric


def test_names_are_those_that_are_reported(make_runner):
    runner = make_runner('mkd_config', **{'train_cfg.max_epochs': 1})
    runner.train()
    metrics = runner.val()
    assert set(reported_metrics(runner.val_loop.evaluator)) == set(metrics)


def test_others_report_what_they_like():

    class Evaluator:
        metrics = [ImageMetric(), DumpResults('out.pkl')]

    assert reported_metrics(Evaluator()) is None
