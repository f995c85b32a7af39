"""How the results of metrics of other packages travel over processes."""
import os
from types import SimpleNamespace

from mmengine.evaluator import BaseMetric, Evaluator

from mmad.engine.hooks.report_hook import ReportHook
from mmad.evaluation import ImageMetric


class Foreign(BaseMetric):
    default_prefix = 'foreign'

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(value=sum(results) / len(results))


def loop_of(metrics):
    return SimpleNamespace(
        evaluator=Evaluator(metrics),
        dataloader=SimpleNamespace(dataset=range(3)))


def evaluate_apart(rank, folder):
    place = folder / f'node{rank}'
    place.mkdir()
    os.chdir(place)
    loop = loop_of([Foreign(), ImageMetric()])
    ReportHook().before_test_epoch(SimpleNamespace(test_loop=loop))
    metric = loop.evaluator.metrics[0]
    metric.process(None, [rank, 2 + rank])
    values = metric.evaluate(3)
    assert os.listdir() == []
    return values


def test_foreign_metrics_need_no_shared_folder(run_processes, tmp_path):
    assert run_processes(2, evaluate_apart, tmp_path) == [{
        'foreign/value': 1.0
    }] * 2


def test_a_folder_for_the_exchange_stays(monkeypatch):
    monkeypatch.setattr('mmad.engine.hooks.report_hook.get_world_size',
                        lambda: 2)
    metrics = [Foreign(collect_dir='shared'), Foreign(), object()]
    loop = loop_of(metrics)
    ReportHook().before_val_epoch(SimpleNamespace(val_loop=loop))
    assert [metric.collect_device for metric in metrics[:2]] == ['cpu', 'gpu']
