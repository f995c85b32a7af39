import pytest
from mmengine.dataset import DefaultSampler

from mmad.errors import InputError
from mmad.evaluation.metrics import gathered_metric
from mmad.evaluation.metrics.gathered_metric import GatheredMetric


class Order(GatheredMetric):
    """Whether results come in the order of the data set, each once."""

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        if not results:
            raise InputError('nothing there.')
        return dict(number=len(results), ordered=results == sorted(results))


def evaluate(rank, number, prefix=None):
    metric = Order(prefix=prefix)
    metric.process(None, list(DefaultSampler(range(number), shuffle=False)))
    return metric.evaluate(number)


@pytest.mark.parametrize('number', [1, 5, 7])
@pytest.mark.parametrize('world', [1, 2, 3])
def test_order_and_padding(run_processes, monkeypatch, world, number):
    monkeypatch.setattr(gathered_metric, '_ROUND', 2)
    expected = dict(number=number, ordered=True)
    assert run_processes(world, evaluate, number) == [expected] * world


def test_prefix():
    assert evaluate(0, 3, 'a') == {'a/number': 3, 'a/ordered': True}


def fail(rank):
    try:
        Order().evaluate(3)
    except InputError as error:
        return str(error)


def test_every_process_ends(run_processes):
    assert run_processes(2, fail) == ['nothing there.'] * 2


def test_a_metric_can_be_evaluated_again():
    metric = Order()
    for number in (3, 2):
        metric.process(None, list(range(number)))
        assert metric.evaluate(number)['number'] == number
