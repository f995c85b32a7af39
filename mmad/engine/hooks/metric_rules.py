"""What hooks that compare metrics know of those of mmad."""
from collections.abc import Sequence

from mmengine.evaluator import Evaluator

from mmad.evaluation import ImageMetric, PixelMetric
from mmad.evaluation.report import IMAGE_METRICS, PIXEL_METRICS

# Of all of them more is better; a part of a name is enough for MMEngine.
GREATER_KEYS = ['auroc', 'image_ap', 'pixel_ap', 'f1max', 'aupro']


def reported_metrics(evaluator: Evaluator) -> list[str] | None:
    """Names of the metrics that an evaluator will report.

    Args:
        evaluator (Evaluator): Of a validation or test loop.

    Returns:
        list[str] | None: None if it has metrics other than those of mmad,
        whose names show only once they are computed.
    """
    names: list[str] = []
    own: Sequence[str]
    for metric in evaluator.metrics:
        if type(metric) is ImageMetric:
            own = IMAGE_METRICS
        elif type(metric) is PixelMetric:
            own = PIXEL_METRICS
        else:
            return None
        prefix = f'{metric.prefix}/' if metric.prefix else ''
        names += [prefix + name for name in own]
    return names
